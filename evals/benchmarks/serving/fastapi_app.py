"""A model behind FastAPI as its tutorial shows: a pydantic model of the body, a function that predicts."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import FastAPI
from pydantic import create_model

_model = pickle.loads(Path(os.environ["BENCHMARK_MODEL"]).read_bytes())
_fields: dict[str, Any] = {f"f{i}": (float, ...) for i in range(20)}
Customer: Any = create_model("Customer", **_fields)
app = FastAPI()


def predict(customer: Any) -> dict[str, float | int]:
    """The score of one customer."""
    score = float(_model.predict_proba(pd.DataFrame([customer.model_dump()]))[0, 1])
    return {"score": score, "label": int(score >= 0.5)}


predict.__annotations__["customer"] = Customer
app.post("/predict")(predict)
