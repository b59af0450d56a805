"""Chromium without a window, led from outside: real keys and clicks, what it asked for, pictures of what it shows.

It speaks the DevTools protocol through a pipe, so there is no port and no library.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Tab": 9, "Escape": 27, "+": 187, "-": 189, " ": 32}

_ONTO_3_AND_4 = (
    "import os, sys; reading, writing = int(sys.argv[1]), int(sys.argv[2]); writing = os.dup(writing) if writing == 3 else writing; "
    "os.dup2(reading, 3); os.dup2(writing, 4); os.execv(sys.argv[3], sys.argv[3:])"
)
"""The browser reads commands from descriptor 3 and writes answers to 4."""


class Browser:
    """One page of one browser.

    Attributes:
        asked: Address of every request that the page made.
        problems: Errors and violations of the content security policy, as the browser words them.
    """

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._number = 0
        self._left = b""
        self._session: str | None = None
        self.asked: list[str] = []
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def ask(self, script: str) -> Any:
        """Return what an expression gives; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, *, seconds: float = 60.0) -> Any:
        """Return what an expression gives once that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.ask(f"(() => {{ try {{ return {script}; }} catch {{ return null; }} }})()")
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"not true within {seconds} s: {script}; problems: {self.problems}; page: {self.ask('document.body.innerText.slice(0, 800)')}"
        )

    def press(self, key: str) -> None:
        """Press a key, wherever the focus is."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        base = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, ord(key[0].upper()))}
        self.call(
            "Input.dispatchKeyEvent",
            type="keyDown" if text else "rawKeyDown",
            **base,
            **({"text": text} if text else {}),
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **base)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse's button, move, and let it go."""
        for kind, (x, y) in (
            ("mouseMoved", start),
            ("mousePressed", start),
            ("mouseMoved", ((start[0] + end[0]) / 2, end[1])),
            ("mouseMoved", end),
            ("mouseReleased", end),
        ):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="none" if kind == "mouseMoved" and (x, y) == start else "left",
                buttons=1,
                clickCount=1,
            )

    def shape(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window, and whether its user prefers dark pages."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)[
            "data"
        ]
        path.write_bytes(base64.b64decode(data))

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result; events that come meanwhile are taken down."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _read(self) -> Any:
        with selectors.DefaultSelector() as selector:
            selector.register(self._back, selectors.EVENT_READ)
            while b"\0" not in self._left:
                assert selector.select(timeout=120), "the browser does not answer"
                part = os.read(self._back, 1 << 20)
                assert part, f"the browser ended: {self._process.poll()}"
                self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        told = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile goes into a folder."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    assert program is not None, "Chromium is not there: `make test` installs it, or apt-get install chromium."
    read_by_it, to = os.pipe()
    back, written_by_it = os.pipe()
    command = [
        sys.executable, "-c", _ONTO_3_AND_4, str(read_by_it), str(written_by_it),
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe",
    ]  # fmt: skip
    process = subprocess.Popen(command, pass_fds=(read_by_it, written_by_it), stderr=subprocess.DEVNULL)
    os.close(read_by_it)
    os.close(written_by_it)
    try:
        yield Browser(process, to, back)
    finally:
        process.terminate()
        process.wait(timeout=90)
        os.close(to)
        os.close(back)
