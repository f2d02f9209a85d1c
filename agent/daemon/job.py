"""A triage in a process of its own: its memory is given back, and its end does not depend on the daemon's threads."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from agent.untrusted import clean

STOP_SECONDS = 20.0
_GUARDIAN = "from agent.cli import main; main()"


class TriageJob:
    """Runs one triage at a time. Interrupted, it is continued by the next one."""

    def __init__(self, operations: Path, planner: str | None, say: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-c", _GUARDIAN, "--operations", str(operations), "--json", "triage"]
        self._command += ["--planner", planner] if planner else []
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
        self._environment = {**os.environ, "PYTHONPATH": path}
        self._say = say
        self._one = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self.doing = ""
        """What it said last, empty while none runs."""

    def run(self) -> str:
        """The report of a triage, or in a line why there is none."""
        if not self._one.acquire(blocking=False):
            return "A triage is at work already; nothing was started."
        try:
            return self._run()
        finally:
            self.doing = ""
            self._process = None
            self._one.release()

    def stop(self) -> None:
        """Interrupts it as Ctrl-C does; killed where it does not end."""
        self._stopped = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _run(self) -> str:
        if self._stopped:
            return "The daemon is ending; nothing was started."
        self.doing = "begins"
        process = self._process = subprocess.Popen(  # noqa: S603  our own module, no text from outside
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stderr is not None
        reader = threading.Thread(target=self._follow, args=(process,), daemon=True)
        reader.start()
        said = process.stdout.read()
        code = process.wait()
        reader.join(5)
        process.stdout.close()
        return _report(said, code)

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in process.stderr:
                self.doing = clean(line, 200) or self.doing
                self._say(f"triage: {line.rstrip()}")


def _report(said: str, code: int) -> str:
    try:
        result = json.loads(said)
    except ValueError:
        return f"The triage ended with exit code {code} and said nothing."
    if "report" in result:
        return str(result["report"])
    return f"The triage ended with exit code {code}: {clean((result.get('error') or {}).get('message'), 600)}"
