"""A browser for tests: headless Chromium over its DevTools protocol. Tests that need one skip where it is absent."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, url: str) -> None:
        """Goes to a page and waits until it is loaded."""
        self.run("window.before = true")
        self.call("Page.navigate", url=url)
        self._loaded()

    def click(self, text: str) -> None:
        """Clicks the link of this text with the mouse, where it is shown."""
        found = f"[...document.querySelectorAll('a')].find(a => a.textContent.trim() === {json.dumps(text)})"
        place = self.run(
            f"(async () => {{ const a = {found}; if (!a) return null; a.scrollIntoView({{block: 'center'}});"
            " for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"
            " const r = a.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        assert place, f"no link says {text!r}"
        self.run("window.before = true")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)
        self._loaded()

    def run(self, script: str) -> Any:
        """The value of a script."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def text(self) -> str:
        """What the page shows."""
        return str(self.run("document.body.innerText"))

    def wide(self, pixels: int) -> None:
        """Sets the window's width."""
        self.call("Emulation.setDeviceMetricsOverride", width=pixels, height=900, deviceScaleFactor=1, mobile=False)

    def _loaded(self) -> None:
        """Waits for another page than the one that was marked."""
        end = time.monotonic() + 30
        while not self.run("!window.before && document.readyState === 'complete'"):
            assert time.monotonic() < end, "no page was loaded"
            time.sleep(0.02)


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile in `folder`."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        assert not os.environ.get("GUARDIAN_SYSTEMS_REQUIRED"), "Chromium is not installed"
        pytest.skip("Chromium is not installed")
    process = subprocess.Popen(
        [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        address = next(
            (found.group(1) for line in process.stderr if (found := re.search(r"listening on (ws://\S+)", line))), None
        )
        assert address, "Chromium did not start"
        with connect(address, max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(15)
        assert process.stderr is not None
        process.stderr.close()
