"""One request to retrain, with the evidence on the table: what the policies, the triggers and the data say to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from policies.alerting import listed, of_source
from policies.declarations import Severity
from policies.declarations.training import DecayTrigger, DriftTrigger, RetrainingPipeline, ScheduledTrigger, Trigger
from policies.errors import InputError
from policies.promotion import Decision
from policies.retraining import cooldown_over, no_rollout_running, one_run_at_a_time, pipeline_is_sound
from tools.evaluate.metrics import Direction, metric
from tools.retrain import evidence, readiness, training, triggers
from tools.retrain.claim import COMPLETED, RUNNING
from tools.retrain.result import RetrainResult, TriggerAnswer
from tools.retrain.triggers import DriftSeen, Fired, Refused
from tools.systems import holdouts
from tools.systems.holdouts import NothingLabelled
from tools.systems.notify import Incident
from tools.systems.store import Evidence, Kind

if TYPE_CHECKING:
    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems

_ROLLOUT_ENDED = ("promoted", "rolled_back", "aborted")


@dataclass(frozen=True)
class Case:
    """A pipeline asked to run at `now`.

    Attributes:
        seen: reports of the pipeline's monitors on the version that serves now, newest first.
        earlier: those of before it served, which say nothing of it.
        since: since when it serves, None where nothing does.
        serving: the champion, None where there is none.
        began: when the drift that lasts until now began, None where there is none.
        seconds: seconds since the request came in.
    """

    systems: Systems
    name: str
    pipeline: RetrainingPipeline
    now: datetime
    seen: list[DriftSeen]
    earlier: list[DriftSeen]
    since: datetime | None
    serving: ModelVersion | None
    began: datetime | None
    seconds: Callable[[], float]

    @classmethod
    def open(cls, systems: Systems, name: str) -> Case:
        """Gathers the evidence. Raises InputError for an unknown pipeline."""
        seconds = training.stopwatch()
        pipeline = systems.operations.named("retraining_pipelines", name)
        assert isinstance(pipeline, RetrainingPipeline)
        sources = [each.source for each in pipeline.triggers if isinstance(each, DriftTrigger)]
        monitors = sources or systems.operations.monitors_of(pipeline.model)
        since = systems.traffic.champion_since(pipeline.model)
        found = evidence.reports(systems, pipeline.model, monitors)
        seen = [each for each in found if since is None or each.checked_at >= since]
        earlier = [each for each in found if each not in seen]
        serving = evidence.champion(systems, pipeline.model)
        began = readiness.drift_began(seen)
        return cls(systems, name, pipeline, systems.clock.now(), seen, earlier, since, serving, began, seconds)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.pipeline.model

    @property
    def cooldown(self) -> timedelta:
        """The longest cooldown of the drift triggers; it holds for every trigger."""
        declared = [each.cooldown_hours for each in self.pipeline.triggers if isinstance(each, DriftTrigger)]
        return timedelta(hours=max(declared, default=0.0))

    @property
    def grounds(self) -> str | None:
        """The report that a run rests on: of each monitor's newest the one that found the worst, None without any."""
        newest: dict[str, DriftSeen] = {}
        for each in self.seen:
            newest.setdefault(each.monitor, each)
        worst = max(newest.values(), key=lambda each: (each.detected, each.severity.rank), default=None)
        return None if worst is None else worst.report_id

    def runs(self) -> list[Evidence]:
        """Started runs of the pipeline, newest first."""
        return evidence.runs(self.systems, self.name, self.model)

    def last_started(self) -> datetime | None:
        """When the last run started, whatever became of it."""
        return max((row.created_at for row in self.runs()), default=None)

    def policies(self) -> list[Decision]:
        """What the policies say, in the order in which they are asked."""
        return [*self.circumstances(), *self.permitted(self.runs(), self.now)]

    def circumstances(self) -> list[Decision]:
        """May any run of this model be at work now, one that was interrupted too?"""
        rollouts = self.systems.store.list(Kind.rollout, self.model, limit=20)
        open_rollout = next((row.id for row in rollouts if row.status not in _ROLLOUT_ENDED), None)
        return [
            pipeline_is_sound(tuple(map(str, evidence.broken_data(self.systems, self.model)))),
            no_rollout_running(open_rollout),
        ]

    def permitted(self, started: list[Evidence], now: datetime) -> list[Decision]:
        """May a further run start `now`, these being the model's runs so far?"""
        ours = [row for row in started if row.body.get("pipeline") == self.name]
        running = next((row.id for row in ours if row.status == RUNNING), None)
        last = max((row.created_at for row in ours), default=None)
        return [one_run_at_a_time(running), cooldown_over(last, self.cooldown, now)]

    def alert_owners(self) -> None:
        """Tells those who own the broken data that their model waits for it.

        What belongs to no source goes to whom the model's monitors call for something critical.
        """
        findings = evidence.broken_data(self.systems, self.model)
        sources = self.systems.operations.model(self.model).sources
        for name, broken in evidence.broken_sources(self.systems, self.model, findings).items():
            owners = [sources[name].owner] if name else self._called()
            key = of_source(name, owners[0]) if name else f"{self.model}/table"
            known = next((each for each in self.systems.notifications.open() if each.key == key), None)
            told = known.models if known else []
            if self.model in told:
                continue
            models = [*told, self.model]
            facts = known.facts if known else {"kind": "source", "subjects": [], "seen_by": []}
            incident = Incident(
                key=key,
                model=models[0],
                severity=Severity.critical,
                title=f"{listed(models)}: {f'the source {name} is broken' if name else 'its table is broken'}",
                text=f"{self.model} is not retrained until its data are mended. {'; '.join(broken)}",
                people=dict.fromkeys(owners, ()),
                facts={**facts, "models": models},
            )
            self.systems.notifications.report(incident, seen_in=f"{self.name} {self.now:%Y-%m-%d %H:%M}")

    def _called(self) -> list[str]:
        """Whom the model's monitors call for something critical."""
        monitors = self.systems.operations.drift_monitors
        named = [
            monitors[each].alerts.escalation.get("critical") for each in self.systems.operations.monitors_of(self.model)
        ]
        return sorted({each for each in named if each is not None})

    def until(self, decision: Decision) -> datetime | None:
        """Until when a refusal holds; None: until the evidence changes."""
        last = self.last_started()
        return last + self.cooldown if decision.policy == "retraining_cooldown" and last else None

    def ask(self, force: str | None) -> list[TriggerAnswer]:
        """Asks the triggers in declared order until one fires; the last answer decides. A forced one is not asked.

        Raises:
            InputError: the pipeline declares no trigger of the forced type.
        """
        declared = [each.type for each in self.pipeline.triggers]
        if force is not None:
            if force not in declared:
                where = f"retraining_pipelines.{self.name}"
                raise InputError(f"has no trigger {force!r}; it declares {', '.join(declared)}", where=where)
            return [TriggerAnswer(trigger=force, fired=True, reason="its condition was skipped on request")]
        answers: list[TriggerAnswer] = []
        for trigger in self.pipeline.triggers:
            answers.append(_answer(self._evaluate(trigger)))
            if answers[-1].fired:
                break
        return answers

    def _evaluate(self, trigger: Trigger) -> Fired | Refused:
        systems, model, now = self.systems, self.model, self.now
        if isinstance(trigger, DriftTrigger):
            newest, before = (
                next((each for each in reports if each.monitor == trigger.source), None)
                for reports in (self.seen, self.earlier)
            )
            return triggers.drift_detected(trigger, newest, before, self.since)
        if isinstance(trigger, DecayTrigger):
            reading = evidence.performance(systems, model, trigger, self.serving, now)
            higher = metric(trigger.metric).direction is Direction.HIGHER
            return triggers.performance_decay(trigger, reading, higher=higher)
        if isinstance(trigger, ScheduledTrigger):
            last = self.last_started()
            drifted = any(each.detected and (last is None or each.checked_at > last) for each in self.seen)
            return triggers.scheduled(trigger, last, drifted, now)
        since = evidence.moment(self.serving, training.AS_OF_TAG)
        return triggers.data_volume(trigger, evidence.labels_since(systems, model, trigger.label_table, since, now))

    def nothing_to_learn(self, trigger: str) -> Refused | None:
        """None where the window holds enough rows that the last run did not know (see `readiness`).

        Without a drift the rows since the champion's data count; a schedule with `always_run` is not asked then.
        """
        systems = self.systems
        try:
            holdout = holdouts.period(systems, self.model, self.now)
        except NothingLabelled as error:
            return Refused("", "nothing_to_learn_yet", str(error), None)
        train_end = holdout.start
        began, learned, since = self.began, 0, "the drift began"
        if began is None:
            began, since = evidence.moment(self.serving, training.TRAIN_END_TAG), "the champion's data ended"
            if began is None or (trigger == "scheduled" and self._always_runs()):
                return None
        else:
            done = next((row for row in self.runs() if row.status == COMPLETED), None)
            window = done.body.get("data_window") if done else None
            if window:
                known_until = datetime.fromisoformat(window["end"])
                learned, _ = evidence.labelled_rows(systems, self.model, began, known_until, self.now)
        rows, per_day = evidence.labelled_rows(systems, self.model, began, train_end, self.now)
        world = readiness.NewWorld(began, train_end, rows, per_day, learned, since)
        return readiness.something_to_learn(world, self._min_new_rows(holdout.rows), self.now)

    def _always_runs(self) -> bool:
        return any(isinstance(each, ScheduledTrigger) and each.always_run for each in self.pipeline.triggers)

    def _min_new_rows(self, holdout_rows: int) -> int:
        """As declared; the default shrinks with the holdout to a twentieth of it, but not below 200 rows."""
        declared = self.pipeline.training
        if "min_new_rows" in declared.model_fields_set:
            return declared.min_new_rows
        return min(declared.min_new_rows, max(200, holdout_rows // 20))

    def skipped(
        self, why: str, asked: list[TriggerAnswer], *, policy: str | None = None, until: datetime | None = None
    ) -> RetrainResult:
        """The result of a request that did not start."""
        return RetrainResult(
            run_id=None,
            pipeline=self.name,
            triggered_by=None,
            started=False,
            skipped_because=why,
            policy=policy,
            until=until,
            model=self.model,
            version=None,
            mlflow_run_id=None,
            metrics={},
            data_window=None,
            best_params={},
            seconds=self.seconds(),
            triggers=asked,
        )


def _answer(outcome: Fired | Refused) -> TriggerAnswer:
    if isinstance(outcome, Fired):
        return TriggerAnswer(trigger=outcome.trigger, fired=True, reason=outcome.reason)
    return TriggerAnswer(
        trigger=outcome.trigger, fired=False, reason=outcome.reason, rule=outcome.rule, until=outcome.until
    )
