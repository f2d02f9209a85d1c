"""A model as a BentoML service, as its quickstart shows."""

# Runs in the environment of BentoML, without this project.
import os
import pickle
from pathlib import Path

import bentoml
import pandas as pd


@bentoml.service(workers=1)
class Churn:
    """One model, one worker."""

    def __init__(self) -> None:
        self.model = pickle.loads(Path(os.environ["BENCHMARK_MODEL"]).read_bytes())

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, features: dict[str, float]) -> dict[str, float]:
        """The score of one customer."""
        score = float(self.model.predict_proba(pd.DataFrame([features]))[0, 1])
        return {"score": score, "label": float(score >= 0.5)}
