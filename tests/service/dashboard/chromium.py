"""A headless Chromium driven by its own DevTools protocol over a WebSocket: open, look, press, type, photograph."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

PATIENCE_S = 15.0
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


class Chromium:
    """One browser; every tab is a person of its own, who shares no cookies with others."""

    def __init__(self) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            pytest.skip("chromium is not installed; pages are not looked at")
        self._folder = tempfile.mkdtemp(prefix="twinloop-chromium-")
        self._browser = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        told = Path(self._folder) / "DevToolsActivePort"
        lines = awaited(lambda: told.read_text().split() if told.exists() else [])
        self._at = f"127.0.0.1:{lines[0]}"
        self._line = Line(f"ws://{self._at}{lines[1]}")

    def person(self) -> "Tab":
        """A tab with a cookie jar of its own."""
        return self.tab(self._line.call("Target.createBrowserContext")["browserContextId"])

    def tab(self, jar: str) -> "Tab":
        """One more tab with the cookies of others."""
        target = self._line.call("Target.createTarget", url="about:blank", browserContextId=jar)["targetId"]
        return Tab(f"ws://{self._at}/devtools/page/{target}", jar)

    def close(self) -> None:
        """Ends the browser."""
        self._line.close()
        self._browser.terminate()
        self._browser.wait(timeout=PATIENCE_S)
        shutil.rmtree(self._folder, ignore_errors=True)


class Line:
    """One WebSocket of the protocol; what happens between calls is noted in `events`."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._open = ExitStack()
        line = connect(url, max_size=None, open_timeout=PATIENCE_S, ping_interval=None)
        self._socket = self._open.enter_context(line)
        self._numbers = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method and awaits its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        ends_s = time.monotonic() + PATIENCE_S
        while True:
            message = json.loads(self._socket.recv(timeout=max(ends_s - time.monotonic(), 0.0)))
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']['message']}")
                return message["result"]
            self.events.append(message)

    def close(self) -> None:
        self._open.close()


class Tab:
    """A page, and everything that it complained of in `complaints`."""

    def __init__(self, url: str, jar: str) -> None:
        self.jar = jar
        self._line = Line(url)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._line.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Goes to an address and awaits that it has loaded."""
        self._line.events.clear()
        self._line.call("Page.navigate", url=url)
        self.awaits("document.readyState === 'complete'")

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Sets the width in CSS pixels, and what the system is said to prefer."""
        self._line.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._line.call("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._line.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", script))
        return answer["result"].get("value")

    def text(self) -> str:
        """What there is to read."""
        return self.run("document.body ? document.body.innerText : ''")

    def sees(self, *words: str) -> str:
        """Awaits that all words stand on the page, and gives its text."""
        try:
            return awaited(lambda: text if all(word in (text := self.text()) for word in words) else "")
        except AssertionError:
            shown = self.text()
            raise AssertionError(
                f"missing {[word for word in words if word not in shown]} in: {shown[:2000]}"
            ) from None

    def awaits(self, script: str) -> Any:
        """Awaits that an expression is true."""
        return awaited(lambda: self.run(script), script)

    def press(self, label: str) -> None:
        """Presses the visible button or link with a text or label."""
        find = f"""[...document.querySelectorAll("button, a, [role=option], [role=button]")].find(one =>
            one.getClientRects().length && !one.disabled
            && [one.innerText.trim(), one.getAttribute("aria-label")].includes({json.dumps(label)}))"""
        self.awaits(f"!!({find})")
        self.run(f"({find}).click()")

    def type(self, selector: str, text: str) -> None:
        """Types into a field."""
        self.awaits(f"!!document.querySelector({json.dumps(selector)})")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._line.call("Input.insertText", text=text)

    def key(self, name: str) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "Escape": 27}
            self._line.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name], **text
            )

    def photograph(self, path: Path) -> None:
        """Writes the whole page as PNG."""
        size = self._line.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        shot = self._line.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests that failed, since `open`."""
        self.run("0")
        found: list[str] = []
        for event in self._line.events:
            method, told = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(told["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(one.get("value", one.get("description"))) for one in told["args"]))
            elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        return found

    @property
    def asked(self) -> set[str]:
        """Every address that the page asked for since `open`."""
        self.run("0")
        sent = [one["params"] for one in self._line.events if one.get("method") == "Network.requestWillBeSent"]
        opened = [one["params"] for one in self._line.events if one.get("method") == "Network.webSocketCreated"]
        return {one["request"]["url"] for one in sent} | {one["url"] for one in opened}

    @property
    def received(self) -> str:
        """What came over the page's WebSockets since `open`, as it came."""
        self.run("0")
        frames = [one["params"] for one in self._line.events if one.get("method") == "Network.webSocketFrameReceived"]
        return "\n".join(one["response"]["payloadData"] for one in frames)

    def close(self) -> None:
        """Closes the page, and with it its lines to the server."""
        self._line.call("Page.close")
        self._line.close()


def awaited(find: Callable[[], Any], what: str = "") -> Any:
    """The first thing found that is true."""
    ends_s = time.monotonic() + PATIENCE_S
    while not (found := find()):
        if time.monotonic() > ends_s:
            raise AssertionError(f"waited in vain {what}")
        time.sleep(0.05)
    return found
