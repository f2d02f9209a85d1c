"""Which code of the user's made a model can be told later, from a commit or from what its files said."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.tools.retrain.samples import MIXED
from tools.retrain.recipes import resolve


def version(name: str, home: Path) -> str | None:
    return resolve(name, home, MIXED, "bought", {}, home / "scratch").version()


def commit(home: Path) -> str:
    git = ["git", "-C", str(home), "-c", "user.name=a", "-c", "user.email=a@bank.example"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    told = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return told.stdout.strip()


def test_a_function_is_of_a_commit_of_changed_files_or_of_files_alone(tmp_path: Path) -> None:
    (tmp_path / "gate_bank").mkdir()
    (tmp_path / "gate_bank" / "__init__.py").write_text("raise RuntimeError('nobody runs this')\n")
    module = tmp_path / "gate_bank" / "recipes.py"
    module.write_text("def made(trial, features, seed): ...\n")
    alone = version("gate_bank.recipes:made", tmp_path)
    assert alone is not None and alone.startswith("sha256.")
    module.write_text("def made(trial, features, seed): return None\n")
    changed = version("gate_bank.recipes:made", tmp_path)
    assert changed not in (None, alone)
    first = commit(tmp_path)
    (tmp_path / "notes.txt").write_text("what else changes does not matter")
    assert version("gate_bank.recipes:made", tmp_path) == f"git.{first}"
    module.write_text("def made(trial, features, seed): ...\n")
    assert version("gate_bank.recipes:made", tmp_path) == f"git.{first}+{alone}"


def test_a_project_is_of_its_folder_and_what_is_not_there_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "gate_project").mkdir()
    (tmp_path / "gate_project" / "MLproject").write_text("name: bank\n")
    (tmp_path / "gate_project" / "train.py").write_text("")
    assert (version("gate_project", tmp_path) or "").startswith("sha256.")
    assert version("gate_project", tmp_path) != version("no_such_bank:made", tmp_path)
    assert version("no_such_bank:made", tmp_path) is None
    assert version("ChurnModel", tmp_path) is None
