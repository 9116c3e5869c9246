"""A headless Chromium driven through the DevTools protocol: just what tests of these pages need."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

LAUNCH_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1
MESSAGE_BYTES_MAX = 64 << 20


class BrowserError(Exception):
    """What went wrong, in words."""


class Browser:
    """A browser with a fresh profile and one tab; ended and cleaned up on leaving the `with`."""

    def __init__(self) -> None:
        program = os.environ.get("MILLRACE_CHROMIUM", "chromium")
        if shutil.which(program) is None:
            raise BrowserError(f"`{program}` is not installed; apt-get install chromium, or set MILLRACE_CHROMIUM")
        self.open = ExitStack()
        self.profile = tempfile.mkdtemp(prefix="millrace-st-browser-")
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        arguments += ["--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-GB", "--remote-debugging-port=0"]
        self.log = open(Path(self.profile, "browser.log"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [program, *arguments, f"--user-data-dir={self.profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )
        try:
            opening = connect(self._address(), max_size=MESSAGE_BYTES_MAX, compression=None)
            self.wire: ClientConnection = self.open.enter_context(opening)
            self.last_id, self.session = 0, None
            self.problems: list[str] = []
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the browser and removes its profile."""
        self.open.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _address(self) -> str:
        until = time.monotonic() + LAUNCH_SECONDS_MAX
        while time.monotonic() < until and self.process.poll() is None:
            for line in Path(self.log.name).read_text(encoding="utf-8", errors="replace").splitlines():
                if "DevTools listening on " in line:
                    return line.split("DevTools listening on ")[1].strip()
            time.sleep(POLL_SECONDS)
        raise BrowserError(f"the browser did not tell its address:\n{Path(self.log.name).read_text()}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; what comes in between is looked at for uncaught errors of the page."""
        self.last_id += 1
        message: dict[str, Any] = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.wire.send(json.dumps(message))
        while True:
            try:
                answer = json.loads(self.wire.recv(timeout=ANSWER_SECONDS_MAX))
            except TimeoutError:
                raise BrowserError(f"{method}: no answer within {ANSWER_SECONDS_MAX:.0f} s") from None
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description", details["text"]))
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def goto(self, url: str) -> None:
        """Loads a page; the app in it draws itself later."""
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{script}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60.0) -> None:
        """Waits until the expression is true."""
        until = time.monotonic() + seconds
        while True:
            if self.run(f"Boolean({script})"):
                return
            if time.monotonic() > until:
                text = self.run("document.body.innerText")
                raise BrowserError(f"not true within {seconds:.0f} s: {script}\nThe page says:\n{text}")
            time.sleep(POLL_SECONDS)

    def size(self, width: int, height: int) -> None:
        """The window, CSS pixels; below 600 wide it is a phone."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def dark(self, dark: bool) -> None:
        """What the system prefers."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        """The window as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
