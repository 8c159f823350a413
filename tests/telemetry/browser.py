"""A browser without a window, driven over a pipe: what a page does, not what its text says."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --disable-extensions "
    "--remote-debugging-pipe"
).split()

PATIENCE_SECONDS = 60.0


class Browser:
    """One page in a browser.

    Args:
        write: where commands go to, ended by a zero byte.
        read: where answers and events come from.
    """

    def __init__(self, write: int, read: int) -> None:
        self.write = write
        self.read = read
        self.number = 0
        self.session = ""
        self.buffer = b""
        self.events: list[dict[str, Any]] = []

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self.number:
                assert "error" not in told, told["error"]
                return told["result"]  # type: ignore[no-any-return]
            self.events.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], PATIENCE_SECONDS)
            assert ready, "the browser says nothing"
            more = os.read(self.read, 1 << 20)
            assert more, "the browser is gone"
            self.buffer += more
        one, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(one)  # type: ignore[no-any-return]

    def open(self, address: str, width: int = 1440, height: int = 1100, scheme: str = "light") -> None:
        """Show a page and wait until its script says that it is ready."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for one in ("about:blank", address):
            self.events = [event for event in self.events if event.get("method") != "Page.loadEventFired"]
            self.call("Page.navigate", url=one)
            while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
                self.events.append(self._next())
        assert self.value("document.documentElement.dataset.ready !== undefined"), self.complaints()

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.value(condition):
            assert time.monotonic() < deadline, (condition, self.complaints())
            time.sleep(0.01)

    def value(self, expression: str) -> Any:
        """Give what an expression is worth in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def key(self, key: str) -> None:
        text = key if len(key) == 1 else ""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        self.mouse("Pressed", x, y, button="left", buttons=1, clickCount=1)
        self.mouse("Released", x, y, button="left", clickCount=1)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Give where an element is: left, top, width and height."""
        found = self.value(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        return tuple(found)  # type: ignore[return-value]

    def text(self, selector: str) -> str:
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def names(self) -> list[str]:
        """Give the names of the rows that are shown."""
        found = self.value(
            "[...document.querySelectorAll('#labels .row .name')].map((one) => one.textContent)"
        )
        return [str(name) for name in found]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def requests(self) -> list[str]:
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Give what the page was told off for: exceptions, and what its policy forbids."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser for as long as it is needed."""
    assert CHROMIUM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # the browser reads commands from descriptor 3 and answers on descriptor 4
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        process = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, *FLAGS, f"--user-data-dir={folder}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            one = Browser(ours_out, ours_in)
            one.attach()
            yield one
        finally:
            process.terminate()
            process.wait(20)
            os.close(ours_in)
            os.close(ours_out)
