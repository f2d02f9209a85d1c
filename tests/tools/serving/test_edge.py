"""An exported folder is enough to score as the registered model does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from agent.cli.app import run
from tests.tools.serving.conftest import MODEL, NUMERIC, frame

HOLDOUT = "ml_features.customer_360_holdout"


def test_the_exported_model_scores_as_the_registered_one(world: Any, tmp_path: Path, capsys: Any) -> None:
    table = frame(400, seed=11)
    table["market"] = table["market"].astype(object)
    table.loc[:20, "market"] = None
    world.systems.warehouse.append(HOLDOUT, pa.Table.from_pandas(table, preserve_index=False), "holdout")
    folder = tmp_path / "edge" / "one"
    version = world.versions["one"]
    arguments = ["--operations", str(world.operations), "export", MODEL, "--version", version, "--to", str(folder)]
    assert run(["--json", *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert said["parity"] == json.loads((folder / "parity.json").read_text())
    assert (said["parity"]["holdout_rows"], said["parity"]["label_flips"]) == (400, 0)
    assert said["parity"]["max_difference"] <= 1e-9
    assert manifest["digest"] == world.systems.registry.get("churn_model", version).digest
    assert manifest["onnx_digest"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()

    # As a device does: from the folder alone. A null is NaN or the empty string.
    table.loc[30:40, "market"] = "MARS"
    numbers = table[[each["name"] for each in manifest["inputs"]["numbers"]]].to_numpy(np.float64)
    strings = table[[each["name"] for each in manifest["inputs"]["strings"]]].fillna("").to_numpy(object)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run([manifest["output"]["name"]], {"numbers": numbers, "strings": strings})
    wanted = world.systems.registry.load("churn_model", version).predict_proba(table)[:, 1]
    assert np.abs(scores - wanted).max() <= 1e-9
    assert run(arguments) == 2
    assert "is there already; name a new folder" in capsys.readouterr().err


def test_what_cannot_be_exported_says_why_and_writes_nothing(world: Any, tmp_path: Path, capsys: Any) -> None:
    table = frame(200).fillna(0.0)[[*NUMERIC, "market"]].assign(market=0.0)
    version = world.cache("bayes", make_pipeline(GaussianNB()).fit(table, pd.Series([0, 1] * 100)))
    folder = tmp_path / "edge"
    assert run(["--operations", str(world.operations), "export", MODEL, "--version", version, "--to", str(folder)]) == 2
    assert "cannot be exported: GaussianNB takes categories" in capsys.readouterr().err
    assert not folder.exists()


def test_without_the_extra_one_line_says_what_to_install(world: Any, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError")
    arguments = ["--operations", str(world.operations), "export", MODEL, "--version", world.versions["two"]]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from agent.cli.app import main; main()", *arguments, "--to", "new"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    wanted = "cannot be exported: the extra onnx is not installed: pip install 'mlops-guardian[onnx]'"
    assert done.stderr.splitlines()[-1].endswith(wanted)
    assert not (tmp_path / "new").exists()
