"""Results as text for people: a verdict first, then the numbers it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_MARKS = {"critical": "!!", "warning": "! ", "unknown": "? ", "ok": "  "}


def table(rows: Iterable[Sequence[object]], indent: str = "  ") -> str:
    """Left-aligned columns; None is shown as `--`."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return f"{indent}(none)"
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "--"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).splitlines())  # a line of its own would look like one of the Guardian's


def monitor(result: Any) -> str:
    """A registered monitor."""
    lines = [f"Monitor {result.monitor} of {result.model} is active."]
    return "\n".join([*lines, table(check.split(" ", 2) for check in result.checks)])


def drift(result: Any) -> str:
    """A drift report: findings first."""
    ordered = sorted(result.checks, key=lambda check: -["ok", "unknown", "warning", "critical"].index(check.severity))
    found = "drift detected" if result.drift_detected else "no drift"
    head = (
        f"{result.report_id}: {result.monitor} of {result.model}: {found}, severity {result.severity} "
        f"({result.status})\n  window {result.window.start} to {result.window.end}, {result.window.rows} rows; "
        f"baseline {result.baseline.dataset}, {result.baseline.rows} rows"
    )
    rows = [
        (
            f"{_MARKS[check.severity]}{check.type}",
            check.method,
            check.subject,
            check.value,
            f"> {check.threshold:g}" if check.threshold is not None else None,
            f"p {check.p_value:.2g}" if check.p_value is not None else None,
            check.detail,
        )
        for check in ordered
        if check.severity != "ok"
    ]
    fine = len(ordered) - len(rows)
    return "\n".join([head, *([table(rows)] if rows else []), f"  {fine} of {len(ordered)} checks ok"])


def training(result: Any) -> str:
    """A retraining, or why there was none."""
    if not result.started:
        return f"{result.run_id or 'not started'}: {result.pipeline} was not started: {result.skipped_because}"
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in (result.metrics or {}).items())
    return (
        f"{result.run_id}: {result.model} version {result.version} trained in {result.seconds:.1f} s, "
        f"triggered by {result.triggered_by}\n  {metrics}"
    )


def evaluation(result: Any) -> str:
    """A comparison and its gate."""
    low, high = result.interval
    head = (
        f"{result.evaluation_id}: {result.verdict}: weighted improvement {result.weighted_improvement:+.4f} "
        f"(interval {low:+.4f} to {high:+.4f})"
    )
    names = list(result.champion.metrics)
    rows = [("", f"champion v{result.champion.version}", f"challenger v{result.challenger.version}")]
    rows += [(n, result.champion.metrics.get(n), result.challenger.metrics.get(n)) for n in names]
    lines = [head, table(rows)]
    if result.gate is not None and result.gate.gate_id:
        lines.append(f"  gate {result.gate.gate_id}: {result.gate.status}")
        lines.append(table(((c.verdict, c.name, c.value, c.threshold) for c in result.gate.checks), "    "))
    remark = [f"  note: {result.remark}"] if result.remark else []
    return "\n".join([*lines, f"  next: {result.next}", *remark])


def rollout(result: Any) -> str:
    """One rollout."""
    gate = result.last_gate
    judged = f"; gate {gate.name}: {gate.verdict}" if gate else ""
    rest = f", the rest to version {result.champion}" if result.traffic_pct < 100 else ""
    share = f"{result.traffic_pct:g}% of the traffic{rest}"
    if result.status in ("running", "paused") and result.stages[result.stage].mirrored:
        share = f"a copy of each request, all answered by version {result.champion}"
    return (
        f"{result.rollout_id}: {result.strategy} of {result.model} version {result.version}: {result.status}, "
        f"{share}{judged}{f'; held: {result.held}' if result.held else ''}"
        f"{f': {result.reason}' if result.reason else ''}"
    )


def rollouts(results: Sequence[Any]) -> str:
    """All rollouts that were looked at."""
    return "\n".join(rollout(each) for each in results) or "no rollout is running"


def kpis(result: Any) -> str:
    """KPI readings."""
    rows = [("", "value", "target", "baseline", "change %", "severity", "on target", "trend", "so far")]
    for r in result.readings:
        so_far = " ".join(_cell(point.value) for point in r.history)
        rows.append((r.kpi, r.value, r.target, r.baseline, r.change_pct, r.severity, r.on_target, r.trend, so_far))
    detail = f"\n  {result.detail}" if result.detail else ""
    return f"{result.tracker}{detail}\n{table(rows)}"


def triage(result: Any) -> str:
    """A night: each model's verdict and what was done."""
    if result.status == "busy":
        return str(result.report)
    lines = [f"{result.run_id}: planner {result.planner}, ${result.budget.cost_usd:.4f}, {result.budget.tokens} tokens"]
    for model in result.models:
        lines.append(f"{_MARKS.get(model.severity, '  ')}{model.model}: {model.severity}: {model.outcome}")
        lines += [f"    {action.tool}: {action.outcome}" for action in model.actions]
    return "\n".join(lines)


def validation(result: Any) -> str:
    """A sound declarations file."""
    notes = "".join(f"\n  note: {note}" for note in result.notes)
    return f"{result.file}: valid; models: {', '.join(result.models) or 'none'}{notes}"


def status(result: Any) -> str:
    """Every model in a line, warnings beneath."""
    rows: list[Sequence[object]] = [("model", "serving", "by", "health", "drift detection", "last report", "rollout")]
    for each in result.models:
        report, roll = each.last_report or {}, each.rollout or {}
        rows.append(
            (
                each.model,
                each.serving_version,
                each.serves_by,
                each.deploy_health,
                each.drift_detection,
                f"{report.get('report_id')} {report.get('severity')}" if report else None,
                f"{roll.get('rollout_id')} {roll.get('status')}" if roll else None,
            )
        )
    warnings = [f"  WARNING {each.model}: {text}" for each in result.models for text in each.warnings]
    promises = [f"  SLA of {each.model}: {each.sla.in_words}" for each in result.models if each.sla is not None]
    return "\n".join([table(rows, ""), *promises, *warnings])


def why(result: Any) -> str:
    """The chain of evidence, newest first."""
    head = f"{result.model} is served by version {result.serving_version}, because:"
    rows = [(link.id, f"{link.created_at:%Y-%m-%d %H:%M}", link.status, link.says) for link in result.chain]
    return f"{head}\n{table(rows)}"


def runs(result: Any) -> str:
    """Runs, newest first."""
    return table(
        ((r.run_id, f"{r.at:%Y-%m-%d %H:%M}", r.model, r.planner, r.status, r.outcome) for r in result.runs), ""
    )


def approvals(result: Any) -> str:
    """What waits for a person."""
    if not result.approvals:
        return "nothing waits for a person"
    rows: list[Sequence[object]] = [("id", "what", "for", "asked by", "who may", "until", "status")]
    for each in result.approvals:
        until = f"{each.expires_at:%Y-%m-%d %H:%M}"
        rows.append((each.approval_id, each.what, each.model, each.asked_by, each.whom, until, each.status))
    return table(rows, "")


def decision(result: Any) -> str:
    """What a person decided, and what came of it."""
    lines = [f"{result.approval_id}: {result.what}: {result.status}, by {result.decided_by}"]
    return "\n".join([*lines, *(f"  {line}" for line in result.outcome.splitlines())])


def alerts(result: Any) -> str:
    """Open incidents, and what of them could not be sent yet."""
    if not result.alerts:
        return "no incident is open"
    lines = []
    for each in result.alerts:
        lines.append(alert(each.alert))
        waiting = [(d.channel, d.address, d.state, d.error) for d in each.deliveries if d.state != "sent"]
        lines += [table(waiting, "    ")] if waiting else []
    return "\n".join(lines)


def alert(result: Any) -> str:
    """One incident in two lines."""
    since = f"{result.status} since {result.opened_at:%Y-%m-%d %H:%M}, seen {result.seen} times"
    return f"{_MARKS[result.severity]}{result.id}  {result.title}\n    {since}, last {result.changed_at:%Y-%m-%d %H:%M}"


def audit(result: Any) -> str:
    """A sound audit log."""
    return f"the audit log is sound: {result.rows} rows, the last digest is {result.head or 'none yet'}"


def doctor(result: Any) -> str:
    """What is in order, and what falls back to what."""
    marks = {"ok": "  ", "note": "? ", "warning": "! "}
    return table(((f"{marks[each.state]}{each.subject}", each.says) for each in result.checks), "")


def scoring(result: Any) -> str:
    """One batch scoring run."""
    before = f", {result.already:,} were there already" if result.already else ""
    where = f"\n  {result.detail}: scored on this machine" if result.detail else ""
    return (
        f"{result.pattern}: {result.rows:,} rows of {result.input} from {result.partition_start:%Y-%m-%d %H:%M} to "
        f"{result.partition_end:%Y-%m-%d %H:%M} scored by {result.model} version {result.version} into {result.output} "
        f"in {result.seconds:.1f} s{before}{where}"
    )


def export(result: Any) -> str:
    """One edge export."""
    parity = result.parity
    return (
        f"{result.model} version {result.version} is in {result.folder}: model.onnx, manifest.json, parity.json\n"
        f"  on {parity.holdout_rows:,} rows of the holdout and {parity.generated_rows:,} made for the check its scores "
        f"differ by at most {parity.max_difference:.1g}, {parity.label_flips} labels"
    )
