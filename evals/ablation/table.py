"""The seed's table of the ablation with our measured values beside it, then what the seed does not show."""

from __future__ import annotations

from statistics import mean

from evals.ablation.result import AblationResult, AblationRun

NOT_OURS = "not ours"
SEED = {
    "Deploy Strategy": ("canary", "manual"),
    "Deploy Health": ("healthy", "unmonitored"),
    "Drift Detection": ("active", "--"),
    "Model AUC": ("0.847", "0.847"),
    "Test Coverage": ("0.94", "0.94"),
    "Quality Gate": ("passed", "passed"),
    "Root Cause": ("support_quality_degradation", "support_quality_degradation"),
}
"""The seed's own values: full system, without its MLOps agent."""


def show(result: AblationResult) -> str:
    """Both tables as text."""
    full, alone = result.with_agent[0], result.without_agent[0]
    rows = [("", "seed: full", "ours: full", "seed: without", "ours: without")]
    for name, (theirs, without) in SEED.items():
        rows.append((name, theirs, _value(name, full), without, _value(name, alone)))
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if full.root_cause:
        lines += ["", f"Root cause, computed: {full.root_cause}"]
    lines += ["", "Live AUC by week, mean of all runs (with the Guardian, left alone):", *_weeks(result)]
    lines += ["", "Campaigns, mean of all runs:", _money("with   ", result.with_agent)]
    lines += [_money("without", result.without_agent)]
    lines += ["", f"{result.agreeing} of {len(result.with_agent)} runs agree, {result.seconds:.0f} s"]
    return "\n".join(lines)


def _value(name: str, run: AblationRun) -> str:
    end = run.demo.outcome
    return {
        "Deploy Strategy": end.deploy_strategy,
        "Deploy Health": end.deploy_health,
        "Drift Detection": end.drift_detection or "--",
        "Model AUC": f"{end.model_auc:.3f}",
        "Test Coverage": NOT_OURS,
        "Quality Gate": end.gate or "--",
        "Root Cause": "see below" if run.root_cause else "--",
    }[name]


def _weeks(result: AblationResult) -> list[str]:
    lines = []
    for place, week in enumerate(result.with_agent[0].demo.outcome.live_auc):
        ours = mean(run.demo.outcome.live_auc[place].auc for run in result.with_agent)
        alone = mean(run.demo.outcome.live_auc[place].auc for run in result.without_agent)
        lines.append(f"  {week.week:%Y-%m-%d}  {ours:.3f}  {alone:.3f}")
    return lines


def _money(who: str, runs: list[AblationRun]) -> str:
    contacted = mean(run.money.contacted for run in runs)
    gone = mean(run.money.already_churned for run in runs)
    retained, cost = mean(run.money.retained_arr for run in runs), mean(run.money.cost for run in runs)
    customers = f"{contacted:.0f} contacted, {gone:.0f} of them had already churned"
    return f"  {who}  {customers}; retained ${retained:,.0f} for ${cost:,.0f}"
