"""The whole of `operations.yaml`, and what must hold between its blocks."""

from __future__ import annotations

from collections.abc import Iterator

from policies.conditions import parse_bound
from policies.declarations.base import Declared, named_twice
from policies.declarations.binding import Agent, Budget, ModelBinding, SystemsBlock
from policies.declarations.deployment import Canary, DeploymentStrategy, Shadow
from policies.declarations.drift import (
    ConceptDrift,
    DataDrift,
    DriftMonitor,
    FeatureDrift,
    LabelDrift,
    Schema,
    SchemaDrift,
)
from policies.declarations.evaluation import ChampionChallenger, QualityGate
from policies.declarations.kpis import BusinessKpiTracker
from policies.declarations.limits import limit_problem, limits_of
from policies.declarations.serving import Batch, ServingInfra
from policies.declarations.training import DecayTrigger, DriftTrigger, RetrainingPipeline, Training
from policies.errors import InputError
from policies.metrics import MEASURED, direction_of
from policies.tasks import METRICS_BY_TASK, degradation_problem, metric_problem, shadow_problem

Place = tuple[str | int, ...]


class Operations(Declared):
    """Everything declared: each block a mapping from name to body."""

    budgets: dict[str, Budget] = {}
    agents: dict[str, Agent] = {}
    drift_monitors: dict[str, DriftMonitor] = {}
    schemas: dict[str, Schema] = {}
    retraining_pipelines: dict[str, RetrainingPipeline] = {}
    champion_challengers: dict[str, ChampionChallenger] = {}
    quality_gates: dict[str, QualityGate] = {}
    deployment_strategies: dict[str, DeploymentStrategy] = {}
    serving_infra: dict[str, ServingInfra] = {}
    business_kpi_trackers: dict[str, BusinessKpiTracker] = {}
    models: dict[str, ModelBinding] = {}
    systems: SystemsBlock = SystemsBlock()

    def named(self, block: str, name: str) -> object:
        """The body declared under `block` as `name`. Raises InputError that lists the declared names."""
        bodies = getattr(self, block)
        if name not in bodies:
            declared = ", ".join(bodies) or "none"
            raise InputError(f"{name!r} is not declared; declared: {declared}", where=block)
        return bodies[name]

    def model(self, name: str) -> ModelBinding:
        """The binding of a model. Raises InputError."""
        binding = self.named("models", name)
        assert isinstance(binding, ModelBinding)
        return binding

    def model_of_challenge(self, challenge: str) -> str:
        """The model whose holdout a champion_challenger evaluates on. Raises InputError."""
        body = self.named("champion_challengers", challenge)
        assert isinstance(body, ChampionChallenger)
        for name in self.models:
            if self.holdout_of(name) == body.evaluation.dataset:
                return name
        raise InputError(
            f"no model's holdout is {body.evaluation.dataset!r}", where=f"champion_challengers.{challenge}.evaluation"
        )

    def challenge_of(self, model: str) -> str | None:
        """The champion_challenger of a model."""
        holdout = self.holdout_of(model)
        return next((n for n, c in self.champion_challengers.items() if c.evaluation.dataset == holdout), None)

    def holdout_of(self, model: str) -> str:
        """What a comparison calls a model's holdout: its table, or the model's own name where it is of its rows."""
        holdout = self.models[model].holdout
        return holdout if isinstance(holdout, str) else model

    def gate_of(self, model: str) -> QualityGate | None:
        """The quality gate of a model."""
        return next((gate for gate in self.quality_gates.values() if gate.model == model), None)

    def pipeline_of(self, model: str) -> str | None:
        """The retraining pipeline of a model."""
        return next((name for name, p in self.retraining_pipelines.items() if p.model == model), None)

    def memory_gb_of(self, model: str) -> float:
        """What a process with the model's artifact may hold: as much as its training, in 10^9 bytes."""
        name = self.pipeline_of(model)
        if name is None:
            return float(Training.model_fields["memory_limit_gb"].default)
        return self.retraining_pipelines[name].training.memory_limit_gb

    def serving_of(self, model: str) -> ServingInfra | None:
        """The serving infrastructure of a model: the one that names it, else the only one."""
        for infra in self.serving_infra.values():
            if infra.model == model or (infra.model is None and len(self.models) == 1):
                return infra
        return None

    def gate_off_by(self, model: str) -> list[str]:
        """The declarations that switch the model's quality gate off, for all its versions or for retrained ones."""
        challenge, pipeline = self.challenge_of(model), self.pipeline_of(model)
        found = []
        if challenge and not self.champion_challengers[challenge].promotion.require_quality_gate:
            found.append(f"champion_challengers.{challenge}.promotion.require_quality_gate: false")
        if pipeline and not self.retraining_pipelines[pipeline].promotion.require_gate:
            found.append(f"retraining_pipelines.{pipeline}.promotion.require_gate: false")
        return found

    def monitors_of(self, model: str) -> list[str]:
        """Names of the drift monitors of a model."""
        return [name for name, monitor in self.drift_monitors.items() if monitor.model == model]

    def trackers_of(self, model: str) -> list[str]:
        """Names of the KPI trackers of a model."""
        return [name for name, tracker in self.business_kpi_trackers.items() if tracker.model == model]


def check_references(operations: Operations) -> Iterator[tuple[Place, str]]:
    """Every dangling name as (place, cause). Only what the declarations themselves say: no system is asked."""
    yield from _check_models_named(operations)
    yield from _check_monitors(operations)
    yield from _check_training(operations)
    yield from _check_challenges(operations)
    yield from _check_agents(operations)
    yield from _check_approvers(operations.systems)
    yield from _check_one_each(operations)
    yield from _check_outputs(operations)
    for model in operations.systems.traffic:
        yield from _dangling(("systems", "traffic", model), model, operations.models)
    for name, gate in operations.quality_gates.items():
        for metric, bound in gate.metrics.items():
            yield from _unfit_metric(("quality_gates", name, "metrics"), metric, operations, gate.model)
            yield from _unfit_bound(("quality_gates", name, "metrics", metric), metric, bound)
        task = _task(operations, gate.model)
        if gate.max_calibration_error is not None and task != "binary":
            what = f"is of the probability of one class, and {gate.model} is a {task} model: leave it out"
            yield ("quality_gates", name, "max_calibration_error"), what
        if gate.model in operations.models and gate.segments:
            known = operations.models[gate.model].features.names
            for column in gate.segments.columns:
                yield from _dangling(("quality_gates", name, "segments", "columns"), column, known)
    for name, binding in operations.models.items():
        for source, body in binding.sources.items():
            for feature in body.features:
                yield from _dangling(("models", name, "sources", source, "features"), feature, binding.features.names)
        if (problem := named_twice(binding.features.names)) is not None:
            yield ("models", name, "features"), problem
        if not binding.features.names:
            yield ("models", name, "features"), "no feature is declared"


def _check_one_each(operations: Operations) -> Iterator[tuple[Place, str]]:
    """A model has one gate, one pipeline and one challenge: a second one would be declared and never asked."""
    judged = {name: body.evaluation.dataset for name, body in operations.champion_challengers.items()}
    asked = {
        "quality_gates": {name: body.model for name, body in operations.quality_gates.items()},
        "retraining_pipelines": {name: body.model for name, body in operations.retraining_pipelines.items()},
        "champion_challengers": judged,
    }
    for block, of in asked.items():
        first: dict[str | None, str] = {}
        for name, whose in of.items():
            if (known := first.setdefault(whose, name)) != name:
                yield (block, name), f"{known} is declared for {whose} already, and only one is asked; declare one"


def _check_outputs(operations: Operations) -> Iterator[tuple[Place, str]]:
    """Each batch pattern writes a table of its own: it leaves out the rows that its output has already."""
    first: dict[str, str] = {}
    for name, infra in operations.serving_infra.items():
        for number, pattern in enumerate(infra.patterns):
            if isinstance(pattern, Batch):
                place = f"serving_infra.{name}.patterns[{number}]"
                if (other := first.setdefault(pattern.output.casefold(), place)) != place:
                    what = f"{other} writes {pattern.output} already, and its rows would be taken for this one's"
                    yield ("serving_infra", name, "patterns", number, "output"), f"{what}; name a table of its own"


def _check_agents(operations: Operations) -> Iterator[tuple[Place, str]]:
    for name, agent in operations.agents.items():
        yield from _dangling(("agents", name, "budget"), agent.budget, operations.budgets)
        if agent.run_budget is not None:
            yield from _dangling(("agents", name, "run_budget"), agent.run_budget, operations.budgets)


def _check_approvers(systems: SystemsBlock) -> Iterator[tuple[Place, str]]:
    for person in systems.approvers:
        yield from _dangling(("systems", "approvers"), person, systems.people)
    for action, rule in systems.approvals.items():
        for person in rule.approvers:
            yield from _dangling(("systems", "approvals", action, "approvers"), person, systems.people)


def _check_models_named(operations: Operations) -> Iterator[tuple[Place, str]]:
    blocks = ("drift_monitors", "retraining_pipelines", "quality_gates", "business_kpi_trackers", "serving_infra")
    for block in blocks:
        for name, body in getattr(operations, block).items():
            if body.model is not None:
                yield from _dangling((block, name, "model"), body.model, operations.models)
            elif len(operations.models) > 1:
                yield (block, name), f"with several models, say which: model: {' | '.join(operations.models)}"


def _check_monitors(operations: Operations) -> Iterator[tuple[Place, str]]:
    for name, monitor in operations.drift_monitors.items():
        binding = operations.models.get(monitor.model)
        for number, check in enumerate(monitor.monitors):
            at: Place = ("drift_monitors", name, "monitors", number)
            if isinstance(check, SchemaDrift):
                yield from _dangling((*at, "expected_schema"), check.expected_schema, operations.schemas)
            if binding and isinstance(check, ConceptDrift | LabelDrift):
                yield from _check_task(at, check, binding.task)
            if isinstance(check, DataDrift | FeatureDrift) and check.features != "all" and binding:
                for feature in check.features:
                    yield from _dangling((*at, "features"), feature, binding.features.names)
        for severity, person in monitor.alerts.escalation.items():
            at = ("drift_monitors", name, "alerts", "escalation", severity)
            yield from _dangling(at, person, operations.systems.people)


def _check_task(at: Place, check: ConceptDrift | LabelDrift, task: str) -> Iterator[tuple[Place, str]]:
    """Whether a check of outcomes can be made of a model of this task."""
    if isinstance(check, ConceptDrift) and check.metric is not None:
        yield from _dangling((*at, "metric"), check.metric, METRICS_BY_TASK[task])
    if task == "regression" and check.method in ("class_balance", "estimated_performance"):
        allowed = "psi, ks, js, hellinger, wasserstein"
        if isinstance(check, ConceptDrift):
            allowed = "performance_decay, adwin, page_hinkley"
        yield (*at, "method"), f"{check.method!r} needs classes, and the task is a regression; allowed: {allowed}"


def _check_training(operations: Operations) -> Iterator[tuple[Place, str]]:
    for name, pipeline in operations.retraining_pipelines.items():
        if pipeline.model in operations.models and operations.models[pipeline.model].served == "elsewhere":
            yield ("retraining_pipelines", name, "model"), f"{pipeline.model!r} is served elsewhere: retrain it there"
        model = pipeline.model
        yield from _not_of_scores(
            ("retraining_pipelines", name, "promotion", "metric"), pipeline.promotion.metric, operations, model
        )
        for number, trigger in enumerate(pipeline.triggers):
            if isinstance(trigger, DecayTrigger):
                at: Place = ("retraining_pipelines", name, "triggers", number)
                yield from _not_of_scores((*at, "metric"), trigger.metric, operations, model)
                if (problem := limit_problem(trigger.metric, trigger.threshold)) is not None:
                    yield (*at, "threshold"), problem
            if isinstance(trigger, DriftTrigger):
                at = ("retraining_pipelines", name, "triggers", number)
                yield from _dangling((*at, "source"), trigger.source, operations.drift_monitors)


def _check_challenges(operations: Operations) -> Iterator[tuple[Place, str]]:
    holdouts = {operations.holdout_of(model): model for model in reversed(operations.models)}
    for name, challenge in operations.champion_challengers.items():
        at: Place = ("champion_challengers", name)
        strategy = challenge.promotion.deployment_strategy
        yield from _dangling((*at, "promotion", "deployment_strategy"), strategy, operations.deployment_strategies)
        yield from _dangling((*at, "evaluation", "dataset"), challenge.evaluation.dataset, sorted(holdouts))
        judged = holdouts.get(challenge.evaluation.dataset, "")
        rollout = operations.deployment_strategies.get(strategy) if judged else None
        for problem in _unfit_strategy(rollout, _task(operations, judged)):
            yield (*at, "promotion", "deployment_strategy"), f"{strategy}: {problem}"
        for number, metric in enumerate(challenge.evaluation.metrics):
            place = (*at, "evaluation", "metrics", number)
            yield from _unfit_metric((*place, "name"), metric.name, operations, judged)
            good = direction_of(metric.name)
            if good is not None and metric.direction != good:
                yield (*place, "direction"), f"{metric.name} improves when it is {good.value}, not {metric.direction}"


def _unfit_strategy(declared: DeploymentStrategy | None, task: str) -> Iterator[str]:
    """What a strategy measures that is not measured of models of this task."""
    if isinstance(declared, Canary):
        yield from filter(None, (degradation_problem(name, task) for name in declared.limited))
    elif isinstance(declared, Shadow):
        yield from filter(None, (shadow_problem(name, task) for name in declared.compared))


def _task(operations: Operations, model: str) -> str:
    """The task of a model; one that is not declared is a problem of its own."""
    return operations.models[model].task if model in operations.models else "binary"


def _unfit_metric(place: Place, name: str, operations: Operations, model: str) -> Iterator[tuple[Place, str]]:
    if (problem := metric_problem(name, _task(operations, model))) is not None:
        yield place, problem


def _unfit_bound(place: Place, metric: str, written: str) -> Iterator[tuple[Place, str]]:
    """A bound that a metric never keeps, or always."""
    bound, (low, high) = parse_bound(written, metric), limits_of(metric)
    if (problem := limit_problem(metric, bound.limit)) is not None:
        yield place, problem
    elif (bound.operator == ">" and bound.limit == high) or (bound.operator == "<" and bound.limit == low):
        yield place, f"{metric} is never {bound}"


def _not_of_scores(place: Place, name: str, operations: Operations, model: str) -> Iterator[tuple[Place, str]]:
    """A metric that is not computed from labelled rows: it can neither choose between trials nor decay."""
    if name in MEASURED:
        yield place, f"{name!r} is measured on the running model, not computed from labelled rows; name another metric"
    yield from _unfit_metric(place, name, operations, model)


def _dangling(place: Place, name: str, known: object) -> Iterator[tuple[Place, str]]:
    names = list(known)  # type: ignore[call-overload]
    if name not in names:
        yield place, f"{name!r} is not declared; allowed: {', '.join(names) or 'nothing yet'}"
