"""The folder of a demo: one living process at a time, and what people keep there stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.app import run as guardian
from evals.scratch import ScratchFolder
from policies.errors import InputError
from tools.systems.systems import Systems

TABLES = ("customers", "ml_features.customer_360")

_HOLD = """
import sys, time
from pathlib import Path
from evals.scratch import ScratchFolder
folder = ScratchFolder(Path(sys.argv[1]), sys.argv[2], ())
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("package", ["evals", "evals.elec2"])
def test_a_folder_in_use_is_refused_and_left_untouched(tmp_path: Path, package: str) -> None:
    home = tmp_path / "shop"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(home), package],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == "held\n"
            (home / "warehouse" / "rows.parquet").write_text("precious")
            with pytest.raises(InputError, match=rf"a demo is running in this folder \(pid {first.pid}\)"):
                ScratchFolder(home, package, TABLES)
            assert (home / "warehouse" / "rows.parquet").read_text() == "precious"
        finally:
            first.kill()
    with ScratchFolder(home, package, TABLES):  # the lock died with its process
        assert (home / "operations.yaml").exists()


def test_the_demo_in_a_folder_in_use_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScratchFolder(tmp_path / "shop", "evals", TABLES):
        assert guardian(["demo", "--dir", str(tmp_path / "shop")]) == 2
    assert "a demo is running in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("planner", "told"), [("bogus", "'bogus' is not a planner"), ("openai", "needs OPENAI_API_KEY")]
)
def test_a_planner_that_cannot_work_is_refused_before_anything_is_touched(
    planner: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert guardian(["demo", "--dir", str(tmp_path / "shop"), "--planner", planner]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interrupted_demo_says_so_and_lets_go_of_its_folder(tmp_path: Path, options: list[str]) -> None:
    home = tmp_path / "shop"
    command = [sys.executable, "-c", "from agent.cli import main; main()", *options, "demo", "--dir", str(home)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as demo:
        assert demo.stderr is not None
        assert "building SimShop" in demo.stderr.readline()
        demo.send_signal(signal.SIGINT)
        said = demo.stderr.read()
    assert demo.returncode == 130
    assert said.startswith("interrupted: ")
    ScratchFolder(home, "evals", TABLES).close()


def test_what_people_keep_in_the_folder_stays(tmp_path: Path) -> None:
    home, told = tmp_path / "shop", list[str]()
    ScratchFolder(home, "evals", TABLES, told.append).close()
    mine = [home / "run-26.html", home / "notes" / "todo.txt", home / "warehouse" / "mine" / "rows.parquet"]
    mine.append(home / "warehouse" / "ml_features" / "mine" / "rows.parquet")
    made = [home / "report.html", home / ".guardian" / "state.db", home / "warehouse" / "customers" / "all.parquet"]
    made.append(home / "warehouse" / "ml_features" / "customer_360" / "all.parquet")
    for each in (*mine, *made):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text("written")
    ScratchFolder(home, "evals", TABLES, told.append).close()
    assert [each.exists() for each in mine] == [True] * len(mine)
    assert [each.exists() for each in made] == [False] * len(made)
    assert told == []


def test_an_example_never_writes_into_a_users_own_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUARDIAN_STATE_URL", "GUARDIAN_WAREHOUSE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, f"sqlite:///{tmp_path / 'mine'}")
    with ScratchFolder(tmp_path / "shop", "evals", TABLES):
        systems = Systems.open(tmp_path / "shop" / "operations.yaml")
        assert systems.store.url.endswith("shop/.guardian/state.db")
        systems.close()
    assert not (tmp_path / "mine").exists()


def test_edited_declarations_are_kept_aside_and_told(tmp_path: Path) -> None:
    home, told = tmp_path / "shop", list[str]()
    ScratchFolder(home, "evals", TABLES).close()
    declarations = home / "operations.yaml"
    shipped = declarations.read_text()
    for edited in ("models: {}\n", "budgets: {}\n"):
        declarations.write_text(edited)
        ScratchFolder(home, "evals", TABLES, told.append).close()
        assert declarations.read_text() == shipped
    assert (home / "operations.yaml.bak").read_text() == "models: {}\n"
    assert (home / "operations.yaml.bak2").read_text() == "budgets: {}\n"
    assert [line.rpartition(" ")[2] for line in told] == ["operations.yaml.bak", "operations.yaml.bak2"]


def test_declarations_that_an_older_example_wrote_are_not_taken_for_edited(tmp_path: Path) -> None:
    home = tmp_path / "shop"
    ScratchFolder(home, "evals.elec2", ()).close()
    ScratchFolder(home, "evals", TABLES).close()
    assert [each.name for each in home.glob("operations*")] == ["operations.yaml"]


def _file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file"


def _below_a_file(tmp_path: Path) -> Path:
    return _file(tmp_path) / "shop"


def _nowhere(tmp_path: Path) -> Path:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc")
    return Path("/proc/guardian-demo")


def _read_only(tmp_path: Path) -> Path:
    tmp_path.chmod(0o555)
    try:
        (tmp_path / "probe").touch()
    except OSError:
        return tmp_path / "shop"
    pytest.skip("this user may write everywhere")


@pytest.mark.parametrize("place", [_file, _below_a_file, _nowhere, _read_only])
def test_a_folder_that_cannot_be_made_exits_with_2_and_is_named(
    tmp_path: Path, place: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(place)
    home = place(tmp_path)
    assert guardian(["demo", "--dir", str(home)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{home}: ")
    assert "is a file" in said or "cannot be made or written: " in said
