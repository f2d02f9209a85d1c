"""What the checks of one run look at, each read once: the window's rows, the baseline's stored profile, scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.binding import ModelBinding
from policies.declarations.drift import DriftMonitor, Schema
from policies.errors import InputError
from tools import tasks
from tools.check_drift import attribution, large
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.columns import Categories
from tools.check_drift.contract_facts import Facts, inside, of_arrow, repeats
from tools.check_drift.correlation import Correlations, correlations
from tools.check_drift.counting import Floats
from tools.check_drift.frames import parts
from tools.check_drift.inside import computes_inside, profile_inside
from tools.check_drift.numeric import exact_centre
from tools.check_drift.profiles import UNREADABLE, Profile, profile
from tools.check_drift.reference import Reference, reference_for
from tools.systems import datasets
from tools.systems.registry import CHAMPION
from tools.systems.warehouse import TIMES, Streams, quote
from tools.tasks.predicted import LABEL, SCORE, Predicted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tools.systems.systems import Systems


@dataclass
class Material:
    """The world of one monitor as of one time. Reads are lazy and kept; baselines are kept on disk by their digest."""

    systems: Systems
    monitor: DriftMonitor
    at: datetime
    reach: timedelta
    _kept: dict[str, Any] = field(default_factory=dict)

    @property
    def binding(self) -> ModelBinding:
        """The model's binding. Raises InputError."""
        return self.systems.operations.model(self.monitor.model)

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gave the first time."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def rows(self, start: datetime) -> pa.Table:
        """Rows of the model's table from `start` up to now, all columns; of a `large` window a sample.

        Raises InputError where there is no table.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        time = self.binding.time
        rows: pa.Table = self.kept("rows", self._read_rows)
        if start <= self.at - self.reach:
            return rows
        return rows.filter(pc.greater_equal(rows.column(time), pa.scalar(start, rows.schema.field(time).type)))

    def _read_rows(self) -> pa.Table:
        return self.read_since(self.at - self.reach)

    def read_since(self, start: datetime, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the model's table from `start` up to now, read anew; of many a sample."""
        self.require_times()
        binding, warehouse = self.binding, self.systems.warehouse
        where, params = large.sampled(warehouse, binding.table, [binding.id, binding.time], *self._since(start))
        return warehouse.read(binding.table, columns, where, params)

    @property
    def large(self) -> bool:
        """Whether the window is too large to be read: then all rows are counted where they are, and a sample by the
        rows' ids stands for them wherever rows are needed.
        """
        return self.samples(self.at - self.reach)

    def _since(self, start: datetime) -> tuple[str, dict[str, object]]:
        """The condition for rows from `start` up to now, and its parameters."""
        time = quote(self.binding.time)
        return f"{time} >= $start AND {time} < $end", {"start": start, "end": self.at}

    def row_count(self, start: datetime) -> int:
        """Rows of the model's table from `start` up to now. Raises InputError where there is no table."""
        return int(self.kept(f"rows {start}", lambda: self._counted(start)))

    def _counted(self, start: datetime) -> int:
        self.require_times()
        where, params = self._since(start)
        return large.count(self.systems.warehouse, self.binding.table, where, params)

    def facts(self, schema: Schema, start: datetime) -> Facts:
        """What a contract needs to know of the rows from `start` up to now."""
        if not (self.large or computes_inside(self.systems.warehouse)):
            return of_arrow(schema, self.rows(start), self.binding.time)
        where, params = self._since(start)
        return inside(schema, self.systems.warehouse, self.binding.table, where, params, self.binding.time)

    def repeats(self, start: datetime) -> tuple[int, int]:
        """Of the rows from `start` up to now that have an id, how many there are and how many repeat id and time of
        another; of many rows a sample, which is of whole ids."""
        binding, warehouse = self.binding, self.systems.warehouse
        if binding.id not in warehouse.columns(binding.table):
            return 0, 0
        where, params = large.sampled(warehouse, binding.table, [binding.id], *self._since(start))
        return repeats(warehouse, binding.table, binding.id, binding.time, str(where), params)

    def samples(self, start: datetime) -> bool:
        """Whether the rows from `start` up to now are so many that a sample of them is looked at."""
        return self.row_count(start) > large.MOST_ROWS

    def require_times(self) -> None:
        """Raises InputError where the model's table has no times."""
        self._require(self.binding.table, [], [self.binding.time])

    def require_labels(self) -> None:
        """Raises InputError where the rows or their labels cannot be told apart and dated."""
        binding, labels = self.binding, self.binding.labels
        datasets.require(self.systems, labels.table, binding.table)
        self._require(binding.table, [binding.id], [binding.time])
        self._require(labels.table, [labels.id, labels.value], [labels.time, labels.arrived])

    def require_predictions(self) -> None:
        """Raises InputError where the recorded predictions lack something."""
        binding = self.binding
        said = [SCORE, LABEL] if binding.task == "multiclass" else [SCORE]
        self._require(str(binding.predictions), [binding.id, "model_version", *said], [binding.time])

    def _require(self, table: str, columns: Sequence[str], times: Sequence[str]) -> None:
        self.kept(
            f"required {table} {columns} {times}",
            lambda: datasets.require_columns(self.systems, table, columns, times=times),
        )

    def last_time(self) -> datetime | None:
        """The time of the last row before now, in UTC, a day's its midnight; None where there is none."""
        time = quote(self.binding.time)
        sql = f"SELECT max({time}) FROM {self.binding.table} WHERE {time} < $end"
        last = self.systems.warehouse.query(sql, {"end": self.at}).column(0)[0].as_py()
        return None if last is None else datasets.moment(last)

    def rows_without_time(self) -> int:
        """Rows that no window will ever hold."""
        sql = f"SELECT count(*) FROM {self.binding.table} WHERE {quote(self.binding.time)} IS NULL"
        return int(self.systems.warehouse.query(sql).column(0)[0].as_py())

    def current(self, start: datetime) -> Profile:
        """Profile of the features in the window, comparable with the baseline's."""
        found: Profile = self.kept(f"current {start}", lambda: self._profiled(start))
        return found

    def _profiled(self, start: datetime) -> Profile:
        table, names = self.binding.table, self.binding.features.names
        present = self.systems.warehouse.columns(table)
        if not (there := [name for name in names if name in present]):
            raise InputError("holds none of the model's features", where=table)
        where, params = self._since(start)
        if computes_inside(self.systems.warehouse):
            self.require_times()
            return profile_inside(self.systems.warehouse, table, where, params, there, like=self.baseline())
        if self.large and isinstance(self.systems.warehouse, Streams):
            streamed = large.streamed(self.systems.warehouse, table, there, where, params)
            return profile(streamed, like=self.baseline())
        return profile(self.rows(start).select(there), like=self.baseline())

    def baseline(self) -> Profile:
        """Profile of the baseline's features, computed once and stored."""
        kept: Profile = self.kept("baseline", self._stored_baseline)
        return kept

    def _stored_baseline(self) -> Profile:
        path = self.stored("features", ".npz")
        try:
            return Profile.load(path)
        except InputError:
            found = self._profiled_baseline()
            if not found.rows:
                raise InputError("the baseline has no rows", where=str(self.reference())) from None
            if self.keeps:
                found.save(path)
            return found

    def _profiled_baseline(self) -> Profile:
        features, reference = self.binding.features, self.reference()
        if computes_inside(self.systems.warehouse):
            where, params = reference.condition()
            return profile_inside(
                self.systems.warehouse, reference.table, where, params, features.names, categorical=features.categorical
            )
        where, params = reference.condition()
        size = large.count(self.systems.warehouse, reference.table, where, params)
        rows: object
        if size > large.MOST_ROWS and isinstance(self.systems.warehouse, Streams):
            sample = self._baseline_numbers()
            rows = large.streamed(self.systems.warehouse, reference.table, features.names, where, params)
        else:
            rows = sample = self._baseline_rows()
        centres = {
            name: exact_centre(values)
            for part in parts(sample, [name for name in features.numeric if name in sample.column_names])
            for name in part.names
            for values in part.pieces(name)
            if not isinstance(values, Categories)
        }
        return profile(rows, columns=features.names, categorical=features.categorical, centres=centres)

    def baseline_correlations(self) -> Correlations:
        """Correlations between the baseline's numeric features, computed once and stored."""
        path = self.stored("correlations", ".npz")
        try:
            return Correlations.load(path)
        except UNREADABLE:
            found = correlations(self._baseline_numbers(), self.baseline())
            if self.keeps:
                found.save(path)
            return found

    def _baseline_numbers(self) -> pa.Table:
        """The baseline's numeric features; of a large one a sample."""
        reference, numeric = self.reference(), self.binding.features.numeric
        where, params = reference.condition()
        if large.count(self.systems.warehouse, reference.table, where, params) <= large.MOST_ROWS:
            return reference.read(self.systems, numeric)
        keys = [reference.id, reference.time]
        chosen, bound = large.sampled(self.systems.warehouse, reference.table, keys, where, params)
        return self.systems.warehouse.read(reference.table, numeric, chosen, bound)

    def reference(self) -> Reference:
        """What the window is compared with; the declared baseline where no version serves yet."""
        found: Reference = self.kept("reference", self._reference)
        return found

    def _reference(self) -> Reference:
        try:
            champion = self.champion()
        except InputError:
            champion = ""
        return reference_for(self.systems, self.monitor, champion, self.at, self.reach)

    def champion(self) -> str:
        """The version that served at the time looked back from; of a model served elsewhere the last one recorded.

        Raises InputError where there is none.
        """
        return str(self.kept("champion", self._recorded_version if self.elsewhere else self._serving_version))

    def _serving_version(self) -> str:
        split = self.systems.traffic.split(self.monitor.model, self.at)
        name = self.binding.registry_name
        version = split.champion if split else self.systems.registry.alias(name, CHAMPION)
        if version is None:
            raise InputError(f"no version of {name!r} is champion", where="model registry")
        return version

    @property
    def elsewhere(self) -> bool:
        """Whether there is no artifact that could score a row: the model's recorded predictions are all there is."""
        return self.binding.served == "elsewhere"

    def _recorded_version(self) -> str:
        binding = self.binding
        self.require_predictions()
        sql = f"""
            SELECT CAST(model_version AS VARCHAR) AS v FROM {binding.predictions} WHERE {quote(binding.time)} < $end
            ORDER BY {quote(binding.time)} DESC LIMIT 1
        """
        found = self.systems.warehouse.query(sql, {"end": self.at})
        if not found.num_rows:
            raise InputError(f"holds no prediction before {self.at}", where=str(binding.predictions))
        return str(found["v"][0].as_py())

    def predict(self, rows: pd.DataFrame) -> Predicted:
        """What the champion says of rows that have its features. Raises InputError where a feature is missing."""
        if self.elsewhere:
            raise InputError(
                "is served elsewhere: rows without a recorded prediction cannot be scored", self.monitor.model
            )
        names, several = self.binding.features.names, self.binding.task == "multiclass"
        self._require_features(list(rows.columns))
        if rows.empty:
            return Predicted(np.empty(0), np.empty(0, dtype=np.str_) if several else None)
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        pipeline = self.systems.registry.load(self.binding.registry_name, self.champion())
        # One thread: a check runs beside the gateway, and trees scored by spinning threads starve it.
        with threadpool_limits(limits=1):
            try:
                return tasks.of(self.binding.task).predict(pipeline, rows[names])
            except Exception as error:  # whatever a model raises over values it cannot take
                features = self.binding.features
                odd = datasets.no_numbers(rows, features.numeric) or datasets.no_texts(rows, self._named_categories())
                if odd is not None:
                    raise InputError(odd, where=self.binding.table) from error
                raise

    def _named_categories(self) -> list[str]:
        """Categorical features whose values are words, not codes, in the baseline."""
        known = self.baseline().columns
        return [
            name
            for name in self.binding.features.categorical
            if isinstance(known[name], CategorySummary) and not all(map(str.isdecimal, known[name].counts))
        ]

    def require_features(self) -> None:
        """Raises InputError where the model's table lacks a feature."""
        self._require_features(list(self.systems.warehouse.columns(self.binding.table)))

    def _require_features(self, there: Sequence[str]) -> None:
        if missing := [name for name in self.binding.features.names if name not in there]:
            raise InputError(f"cannot be scored without {', '.join(missing)}", where=self.binding.table)

    def score(self, rows: pd.DataFrame) -> Floats:
        """The champion's scores alone (`Predicted.scores`)."""
        return self.predict(rows).scores

    def baseline_scores(self) -> Profile:
        """Profile of what the champion says of the baseline, computed once a version and stored."""
        path = self.stored("scores", f"-v{self.champion()}.npz")
        try:
            return Profile.load(path)
        except InputError:
            found = profile(self.scored_baseline()[1].columns())
            if self.keeps_words:
                found.save(path)
            return found

    def recorded(self, start: datetime) -> Predicted:
        """What the champion said from `start` up to now, as recorded; empty where nothing is."""
        binding = self.binding
        if binding.predictions is None or not self.systems.warehouse.exists(binding.predictions):
            return Predicted(np.empty(0))
        self.require_predictions()
        where = f"{quote(binding.time)} >= $start AND {quote(binding.time)} < $end AND model_version = $version"
        params = {"start": start, "end": self.at, "version": self.champion()}
        names = [SCORE, LABEL] if binding.task == "multiclass" else [SCORE]
        return self.as_recorded(self.systems.warehouse.read(binding.predictions, names, where, params))

    def as_recorded(self, rows: pa.Table) -> Predicted:
        """Rows of the predictions table (or a join with it) as what was said."""
        try:
            scores = np.asarray(rows.column(SCORE).to_numpy(), dtype=np.float64)
        except (TypeError, ValueError) as error:
            odd = datasets.no_numbers(rows.select([SCORE]).to_pandas(), [SCORE])
            raise InputError(odd or str(error), where=str(self.binding.predictions)) from error
        labels = rows.column(LABEL).to_pandas() if LABEL in rows.schema.names else None
        return tasks.of(self.binding.task).recorded(scores, labels)

    def threshold(self, metric: str) -> float:
        """The score from which the champion flags a row, as recorded with it; 0.5 where `metric` needs none."""
        if metric not in ("f1", "accuracy") or self.elsewhere:
            return 0.5
        version = self.systems.registry.get(self.binding.registry_name, self.champion())
        recorded = {**version.params, **version.tags}.get("threshold", version.metrics.get("threshold", 0.5))
        return float(recorded)

    def baseline_size(self) -> int:
        """Rows of the baseline, 0 where it cannot be read."""
        try:
            return self.baseline().rows
        except Exception:  # its own check says why
            return 0

    def baseline_end(self) -> datetime | None:
        """The time of the baseline's last row; None where it has no times."""
        reference, warehouse = self.reference(), self.systems.warehouse
        kind = warehouse.columns(reference.table).get(reference.time)
        if kind is None or not kind.upper().startswith(TIMES):
            return None
        where, params = reference.condition()
        sql = f"SELECT max({quote(reference.time)}) FROM {reference.table}{f' WHERE {where}' if where else ''}"
        end = warehouse.query(sql, params).column(0)[0].as_py()
        return None if end is None else datasets.moment(end)

    def baseline_sample(self, most: int) -> pd.DataFrame:
        """At most `most` (and 2,000) of the baseline's rows with the model's features, spread evenly; stored."""
        import pyarrow.parquet as pq

        path = self.stored("sample", ".parquet")
        try:
            kept = pq.read_table(path)
        except UNREADABLE:
            kept = attribution.spread(self._baseline_rows().select(self.binding.features.names), attribution.MOST)
            if self.keeps:
                pq.write_table(kept, path)
        sample: pd.DataFrame = attribution.spread(kept, most).to_pandas()
        return sample

    def importances(self) -> dict[str, float]:
        """Each feature's share in what moves the champion's scores, computed once a version and stored."""
        path = self.stored("importances", f"-v{self.champion()}.json")
        names = self.binding.features.names
        try:
            stored = json.loads(path.read_text())
            return {name: float(stored[name]) for name in names}
        except UNREADABLE:
            found = attribution.importances(
                self.score, self.baseline_sample(attribution.sample_size(len(names))), names
            )
            if self.keeps:
                path.write_text(json.dumps(found))
            return found

    def _baseline_rows(self) -> pa.Table:
        rows: pa.Table = self.kept("baseline rows", lambda: self.reference().read(self.systems))
        return rows

    def baseline_frame(self) -> pd.DataFrame:
        """Id, time and, where the baseline has it, target of the baseline's rows."""
        binding, reference = self.binding, self.reference()
        there = self.systems.warehouse.columns(reference.table)
        names = [name for name in (binding.id, binding.time, binding.target) if name in there]
        frame: pd.DataFrame = datasets.timed(reference.read(self.systems, names), binding.time).to_pandas()
        return frame

    def scored_baseline(self) -> tuple[pd.DataFrame, Predicted]:
        """The baseline's id, time and target, and what the champion says of it: once a version, and stored."""
        scored: tuple[pd.DataFrame, Predicted]
        scored = self.kept("scored", self._recorded_of_baseline if self.elsewhere else self._scored_baseline)
        return scored

    def _scored_baseline(self) -> tuple[pd.DataFrame, Predicted]:
        path = self.stored("scored", f"-v{self.champion()}.npz")
        try:
            predicted = Predicted.load(path)
        except UNREADABLE:
            predicted = self.predict(self._baseline_rows().to_pandas())
            if self.keeps:
                predicted.save(path)
        return self.baseline_frame(), predicted

    def _recorded_of_baseline(self) -> tuple[pd.DataFrame, Predicted]:
        """The baseline's rows that have a recorded prediction, of whatever version, and that prediction."""
        import pyarrow as pa

        binding, rows = self.binding, self.baseline_frame()
        if binding.id not in rows or binding.time not in rows:
            raise InputError(f"needs {binding.id} and {binding.time}, to find its predictions", str(self.reference()))
        self.require_predictions()
        where = f"{quote(binding.time)} >= $start AND {quote(binding.time)} <= $end"
        params = {"start": rows[binding.time].min(), "end": rows[binding.time].max()}
        names = [binding.id, binding.time, SCORE, *([LABEL] if binding.task == "multiclass" else [])]
        said = datasets.timed(
            self.systems.warehouse.read(str(binding.predictions), names, where, params), binding.time
        ).to_pandas()
        both = rows.merge(said, on=[binding.id, binding.time])
        return both[rows.columns], self.as_recorded(pa.Table.from_pandas(both, preserve_index=False))

    @property
    def keeps(self) -> bool:
        """Whether summaries of the baseline's rows are worth storing: not where it moves with the window."""
        return self.monitor.baseline.period is None

    @property
    def keeps_words(self) -> bool:
        """Whether what the champion says of the baseline is worth storing: what is recorded may be written again."""
        return self.keeps and not self.elsewhere

    def _baseline_digest(self) -> str:
        """Digest of the baseline's files and the features asked of it: a changed file is a new baseline.

        A window of the live table is known by its dates: that table gets a file a day.
        """
        return str(self.kept("digest", self._digest))

    def _digest(self) -> str:
        reference, binding = self.reference(), self.binding
        files = [] if reference.spans else self.systems.warehouse.fingerprint(reference.table)
        content = [self.monitor.model, str(reference), files, binding.features.model_dump(), binding.task]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def stored(self, what: str, ending: str) -> Path:
        """Where a summary of the baseline is kept; its name changes with the baseline."""
        folder = self.systems.state / "profiles"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.monitor.model}-{what}-{self._baseline_digest()}{ending}"
