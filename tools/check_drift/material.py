"""What the checks of one run look at, each read once: the window's rows, the baseline's stored profile, scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.binding import ModelBinding
from policies.declarations.drift import DriftMonitor
from policies.errors import InputError
from tools.check_drift.correlation import Correlations, correlations
from tools.check_drift.counting import Floats
from tools.check_drift.performance import Performance, measure
from tools.check_drift.profiles import Profile, profile
from tools.check_drift.reference import Reference, reference_for
from tools.systems import datasets
from tools.systems.registry import CHAMPION
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tools.systems.systems import Systems

SCORE = "score"


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

    def rows(self, start: datetime) -> pa.Table:
        """Rows of the model's table from `start` up to now, all columns. Raises InputError where there is no table."""
        import pyarrow as pa
        import pyarrow.compute as pc

        time = self.binding.time
        if "rows" not in self._kept:
            where = f"{quote(time)} >= $start AND {quote(time)} < $end"
            params = {"start": self.at - self.reach, "end": self.at}
            self._kept["rows"] = self.systems.warehouse.read(self.binding.table, None, where, params)
        rows: pa.Table = self._kept["rows"]
        if start <= self.at - self.reach:
            return rows
        return rows.filter(pc.greater_equal(rows.column(time), pa.scalar(start, rows.schema.field(time).type)))

    def current(self, start: datetime) -> Profile:
        """Profile of the features in the window, comparable with the baseline's."""
        key = f"current {start}"
        if key not in self._kept:
            rows = self.rows(start)
            there = [name for name in self.binding.features.names if name in rows.column_names]
            self._kept[key] = profile(rows.select(there), like=self.baseline())
            if not there:
                raise InputError("holds none of the model's features", where=self.binding.table)
        found: Profile = self._kept[key]
        return found

    def baseline(self) -> Profile:
        """Profile of the baseline's features, computed once and stored."""
        if "baseline" not in self._kept:
            path = self._stored("features", self._baseline_digest(), ".npz")
            try:
                self._kept["baseline"] = Profile.load(path)
            except InputError:
                features = self.binding.features
                found = profile(self._baseline_rows(), columns=features.names, categorical=features.categorical)
                if not found.rows:
                    raise InputError("the baseline has no rows", where=str(self.reference())) from None
                found.save(path)
                self._kept["baseline"] = found
        kept: Profile = self._kept["baseline"]
        return kept

    def baseline_correlations(self) -> Correlations:
        """Correlations between the baseline's numeric features, computed once and stored."""
        path = self._stored("correlations", self._baseline_digest(), ".npz")
        try:
            return Correlations.load(path)
        except (OSError, ValueError, KeyError):
            found = correlations(self._baseline_rows().select(self.binding.features.numeric), self.baseline())
            found.save(path)
            return found

    def reference(self) -> Reference:
        """What the window is compared with; the declared baseline where no version serves yet."""
        if "reference" not in self._kept:
            try:
                champion = self.champion()
            except InputError:
                champion = ""
            self._kept["reference"] = reference_for(self.systems, self.monitor, champion)
        found: Reference = self._kept["reference"]
        return found

    def champion(self) -> str:
        """The version that served at the time looked back from. Raises InputError where none does."""
        if "champion" not in self._kept:
            split = self.systems.traffic.split(self.monitor.model, self.at)
            name = self.binding.registry_name
            version = split.champion if split else self.systems.registry.alias(name, CHAMPION)
            if version is None:
                raise InputError(f"no version of {name!r} is champion", where="model registry")
            self._kept["champion"] = version
        return str(self._kept["champion"])

    def score(self, rows: pd.DataFrame) -> Floats:
        """The champion's scores of rows that have its features. Raises InputError where a feature is missing."""
        names = self.binding.features.names
        missing = [name for name in names if name not in rows.columns]
        if missing:
            raise InputError(f"cannot be scored without {', '.join(missing)}", where=self.binding.table)
        if rows.empty:
            return np.empty(0)
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        pipeline = self.systems.registry.load(self.binding.registry_name, self.champion())
        # One thread: a check runs beside the gateway, and trees scored by spinning threads starve it.
        with threadpool_limits(limits=1):
            scores: Floats = np.asarray(pipeline.predict_proba(rows[names]))[:, 1].astype(np.float64)
        return scores

    def baseline_scores(self) -> Profile:
        """Profile of the champion's scores of the baseline, computed once a version and stored."""
        path = self._stored("scores", self._baseline_digest(), f"-v{self.champion()}.npz")
        try:
            return Profile.load(path)
        except InputError:
            found = profile({SCORE: self._scored_baseline()[SCORE].to_numpy()})
            found.save(path)
            return found

    def recorded_scores(self, start: datetime) -> Floats:
        """Scores the champion gave from `start` up to now, as recorded; empty where nothing is."""
        binding = self.binding
        if binding.predictions is None or not self.systems.warehouse.exists(binding.predictions):
            return np.empty(0)
        where = f"{quote(binding.time)} >= $start AND {quote(binding.time)} < $end AND model_version = $version"
        params = {"start": start, "end": self.at, "version": self.champion()}
        found = self.systems.warehouse.read(binding.predictions, [SCORE], where, params)
        return np.asarray(found.column(0).to_numpy(), dtype=np.float64)

    def recorded_outcomes(self, start: datetime) -> tuple[Floats, Floats]:
        """Outcomes known by now of rows from `start` on, with the scores the champion gave them as recorded."""
        binding, labels, warehouse = self.binding, self.binding.labels, self.systems.warehouse
        if binding.predictions is None or not all(map(warehouse.exists, (binding.predictions, labels.table))):
            return np.empty(0), np.empty(0)
        sql = f"""
            SELECT CAST(l.{quote(labels.value)} AS DOUBLE) AS outcome, p.{SCORE} AS score
            FROM {binding.predictions} p
            JOIN {labels.table} l
              ON l.{quote(labels.id)} = p.{quote(binding.id)} AND l.{quote(labels.time)} = p.{quote(binding.time)}
            WHERE p.{quote(binding.time)} >= $start AND p.{quote(binding.time)} < $end AND p.model_version = $version
              AND l.{quote(labels.time)} >= $start AND l.{quote(labels.time)} < $end
              AND l.{quote(labels.arrived)} <= $end
            ORDER BY p.{quote(binding.time)}, p.{quote(binding.id)}
        """
        params = {"start": start, "end": self.at, "version": self.champion()}
        outcomes, scores = (
            np.asarray(each.to_numpy(), dtype=np.float64) for each in warehouse.query(sql, params).columns
        )
        return outcomes, scores

    def baseline_performance(self, metric: str) -> Performance:
        """The champion's metric on the baseline's labelled rows; stored once all of them are labelled."""
        path = self._stored(f"performance-{metric}", self._baseline_digest(), f"-v{self.champion()}.json")
        try:
            return Performance.restore(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError):
            labelled = self._labelled(self._scored_baseline())
            outcomes = labelled[self.binding.target].to_numpy(dtype=np.float64)
            found = measure(metric, outcomes, labelled[SCORE].to_numpy(), self.threshold(metric))
            if found.rows == self._baseline_rows().num_rows:
                path.write_text(json.dumps(found.dump()))
            return found

    def baseline_shares(self) -> tuple[int, int]:
        """Positive and negative labels of the baseline; stored once all of its rows are labelled."""
        path = self._stored("labels", self._baseline_digest(), ".json")
        try:
            positives, negatives = json.loads(path.read_text())
        except (OSError, ValueError):
            rows = self._baseline_frame()
            outcomes = self._labelled(rows)[self.binding.target].to_numpy(dtype=np.float64)
            positives, negatives = int(outcomes.sum()), int(len(outcomes) - outcomes.sum())
            if len(outcomes) == len(rows):
                path.write_text(json.dumps([positives, negatives]))
        return int(positives), int(negatives)

    def labels(self, start: datetime) -> tuple[Floats, str]:
        """Labels that have arrived for rows from `start` up to now, and how many of the rows they cover, in words."""
        key = f"labels {start}"
        if key not in self._kept:
            coverage = datasets.label_coverage(self.systems, self.monitor.model, start, self.at, self.at)
            labels = self.binding.labels
            time, arrived = quote(labels.time), quote(labels.arrived)
            where = f"{time} >= $start AND {time} < $end AND {arrived} <= $end"
            params = {"start": start, "end": self.at}
            found = self.systems.warehouse.read(labels.table, [labels.value], where, params)
            values = np.asarray(found.column(0).to_pandas(), dtype=np.float64)
            words = f"{len(values):,} of {int(coverage['rows'].sum()):,} rows labelled"
            if len(coverage) > 1:
                shares = (coverage["labelled"] / coverage["rows"]).to_numpy()
                words += f", {shares[0]:.0%} of the oldest day, {shares[-1]:.0%} of the newest"
            self._kept[key] = (values, words)
        kept: tuple[Floats, str] = self._kept[key]
        return kept

    def threshold(self, metric: str) -> float:
        """The score from which the champion flags a row, as recorded with it; 0.5 where `metric` needs none."""
        if metric not in ("f1", "accuracy"):
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

    def _baseline_rows(self) -> pa.Table:
        if "baseline rows" not in self._kept:
            self._kept["baseline rows"] = self.reference().read(self.systems)
        rows: pa.Table = self._kept["baseline rows"]
        return rows

    def _baseline_frame(self) -> pd.DataFrame:
        """Id, time and, where the baseline has it, target of the baseline's rows."""
        binding, rows = self.binding, self._baseline_rows()
        names = [name for name in (binding.id, binding.time, binding.target) if name in rows.column_names]
        frame: pd.DataFrame = rows.select(names).to_pandas()
        return frame

    def _scored_baseline(self) -> pd.DataFrame:
        """The baseline's id, time and target with the champion's scores, computed once a version and stored."""
        if "scored" not in self._kept:
            path = self._stored("scored", self._baseline_digest(), f"-v{self.champion()}.npy")
            try:
                scores = np.load(path, allow_pickle=False)
            except (OSError, ValueError):
                scores = self.score(self._baseline_rows().to_pandas())
                np.save(path, scores)
            self._kept["scored"] = self._baseline_frame().assign(**{SCORE: scores})
        scored: pd.DataFrame = self._kept["scored"]
        return scored

    def _labelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The baseline's rows whose label is known: from the label table, else from the baseline itself."""
        binding = self.binding
        if self.systems.warehouse.exists(binding.labels.table) and {binding.id, binding.time} <= set(rows.columns):
            joined = datasets.with_labels(self.systems, self.monitor.model, rows, self.at)
            if not joined.empty or binding.target not in rows.columns:
                return joined
        if binding.target not in rows.columns:
            raise InputError(f"has no labels and no column {binding.target!r}", where=str(self.reference()))
        return rows.dropna(subset=[binding.target])

    def _baseline_digest(self) -> str:
        """Digest of the baseline's files and the features asked of it: a changed file is a new baseline.

        A window of the live table is known by its dates: that table gets a file a day.
        """
        if "digest" not in self._kept:
            reference = self.reference()
            folder = self.systems.warehouse.folder(reference.table)
            files = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.glob("*.parquet"))]
            files = files if reference.start is None else []
            content = [self.monitor.model, str(reference), files, self.binding.features.model_dump()]
            self._kept["digest"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        return str(self._kept["digest"])

    def _stored(self, what: str, digest: str, ending: str) -> Path:
        folder = self.systems.state / "profiles"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.monitor.model}-{what}-{digest}{ending}"
