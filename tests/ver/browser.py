"""Headless Chromium driven over its debugging pipe, with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Browser:
    """One page of a browser; use as a context."""

    def __init__(self, profile: Path) -> None:
        self.profile = profile

    def __enter__(self) -> Browser:
        ours, self._to = os.pipe()
        self._from, theirs = os.pipe()
        command = [
            str(PROGRAM), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            f"--user-data-dir={self.profile}", "--window-size=1280,900", "--disable-dev-shm-usage", "about:blank",
        ]  # fmt: skip

        def connect() -> None:
            first, second = os.dup(ours), os.dup(theirs)  # away from 3 and 4, where the browser looks for them
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            command, preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(ours)
        os.close(theirs)
        self._rest, self._number = b"", 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            while b"\0" in self._rest:
                data, _, self._rest = self._rest.partition(b"\0")
                told = json.loads(data)
                if told.get("id") == self._number:
                    assert "error" not in told, told
                    return told["result"]
            if select.select([self._from], [], [], 1.0)[0]:
                self._rest += os.read(self._from, 1 << 20)
        raise TimeoutError(f"the browser does not answer {method}")

    def run(self, script: str) -> Any:
        """Evaluate a script (its promise is awaited) and return its value."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script: str) -> Any:
        """Evaluate a script again and again until it is true."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if value := self.run(script):
                return value
            time.sleep(0.1)
        raise AssertionError(f"never true: {script}; the page says {self.run('document.body.innerText')[:500]!r}")

    def key(self, key: str, modifiers: int = 0) -> None:
        """Press a key where the focus is."""
        code = {"Enter": 13, "Escape": 27, "ArrowDown": 40}.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = {"text": "\r" if key == "Enter" else key} if not modifiers and (len(key) == 1 or key == "Enter") else {}
        event = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def open(self, address: str) -> None:
        """Go to an address and wait for the page."""
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Save what is seen, or the whole page."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))
        return path
