"""A headless Chromium that a test drives through its debugging pipe: it opens, presses, looks, and takes pictures."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.e2e.chromium import QUIET, chromium
from tests.processes import POLL_SECONDS, NotInTime, ProcessCase

ANSWER_SECONDS = 30.0
_COMMANDS, _ANSWERS = 3, 4  # the descriptors of --remote-debugging-pipe


_LEFT = frozenset(
    (
        "Inspected target navigated or closed",
        "Execution context was destroyed.",
        "Cannot find context with specified id",
    )
)
"""What DevTools says of a command whose page was left for another one."""


class BrowserError(AssertionError):
    """The browser rejected a command, or a script in the page raised."""


class PageLeft(BrowserError):
    """The page was left for another one before the command was done."""


class Browser(ProcessProtocol):
    """One process with one page. Commands and events are JSON between NUL bytes (the Chrome DevTools Protocol)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.log: list[str] = []
        self._waiting: dict[int, Deferred[dict[str, Any]]] = {}
        self._number = 0
        self._buffer = b""
        self._session = ""
        self._ended: Deferred[None] = Deferred()

    @classmethod
    async def start(cls, profile: str) -> Browser:
        """Start a browser with a profile in this folder, and open an empty page."""
        browser = cls()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [
            chromium(),
            "--headless",
            *sandbox,
            *QUIET,
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        environment = {**os.environ, "HOME": profile, "TZ": "UTC"}
        files: Any = {0: "w", 1: "r", 2: "r", _COMMANDS: "w", _ANSWERS: "r"}
        reactor.spawnProcess(browser, command[0], command, env=environment, childFDs=files)
        target = (await browser.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
        attached = await browser.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        browser._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await browser.call(f"{domain}.enable")
        return browser

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Read answers and events; keep what else it prints."""
        if childFD != _ANSWERS:
            self.log.append(data.decode("utf-8", "replace"))
            return
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" not in message:
                self.events.append((message["method"], message.get("params", {})))
                continue
            waiting = self._waiting.pop(message["id"], None)
            if waiting is None:
                continue
            if "error" in message:
                error = message["error"]
                kind = PageLeft if error.get("message") in _LEFT else BrowserError
                waiting.errback(Failure(kind(str(error))))
            else:
                waiting.callback(message["result"])

    def processEnded(self, reason: Failure) -> None:
        """Nobody is answered any more."""
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(Failure(BrowserError(f"the browser has ended: {''.join(self.log)[-2000:]}")))
        self._ended.callback(None)

    async def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a command, and return its result. Raises BrowserError."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters or {}}
        if self._session:
            message["sessionId"] = self._session
        answer: Deferred[dict[str, Any]] = Deferred()
        self._waiting[self._number] = answer
        transport: Any = self.transport
        transport.writeToChild(_COMMANDS, json.dumps(message).encode() + b"\0")
        return await answer.addTimeout(ANSWER_SECONDS, reactor)

    async def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, and return its value, awaited if it is a promise."""
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = await self.call("Runtime.evaluate", parameters)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 20.0) -> Any:
        """Return the value of a JavaScript expression when it is true. Raises NotInTime, with the page's text."""
        deadline = reactor.seconds() + seconds
        while not (value := await self._value(expression)):
            if reactor.seconds() > deadline:
                text = await self.run("document.body.innerText.slice(0, 3000)")
                raise NotInTime(f"{expression} did not hold within {seconds:g} seconds; the page:\n{text}")
            await deferLater(reactor, POLL_SECONDS)
        return value

    async def _value(self, expression: str) -> Any:
        """The value of an expression; None while the page is left for another one."""
        try:
            return await self.run(expression)
        except PageLeft:
            return None

    async def look(self, width: int = 1280, height: int = 900, *, dark: bool = False, touch: bool = False) -> None:
        """Choose the size of the window, the colour scheme, and whether it is a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        await self.call("Emulation.setDeviceMetricsOverride", metrics)
        await self.call("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self.call("Emulation.setEmulatedMedia", {"features": [scheme, still]})

    async def open(self, url: str) -> None:
        """Go to a URL."""
        await self.call("Page.navigate", {"url": url})

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key, by its name in DOM events."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
        event: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 * shift}
        if key in ("Enter", " "):
            event["text"] = "\r" if key == "Enter" else " "
        await self.call("Input.dispatchKeyEvent", {"type": "keyDown", **event})
        await self.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    async def picture(self, path: str, *, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page, to a file."""
        answer = await self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        """What the browser logged that a good page causes none of: errors, exceptions, violations of the policy."""
        found = []
        for method, parameters in self.events:
            if method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"].get("exception", parameters)))
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                found.append(str(parameters["args"]))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(f"{parameters['entry']['text']} ({parameters['entry'].get('url', '')})")
        return found

    def requested(self) -> set[str]:
        """The URLs that the page asked for."""
        return {
            parameters["request"]["url"] for method, parameters in self.events if method == "Network.requestWillBeSent"
        }

    async def close(self) -> None:
        """End the process."""
        transport: Any = self.transport
        kill = reactor.callLater(5.0, self._kill)
        try:
            transport.signalProcess("TERM")
        except ProcessExitedAlready:
            pass
        await self._ended
        if kill.active():
            kill.cancel()

    def _kill(self) -> None:
        transport: Any = self.transport
        transport.signalProcess("KILL")


class BrowserCase(ProcessCase):
    """A test with a browser."""

    def setUp(self) -> None:
        chromium()

    async def browser(self) -> Browser:
        """A browser that ends with the test."""
        browser = await Browser.start(self.temporary_folder())
        self.addCleanup(lambda: Deferred.fromCoroutine(browser.close()))
        return browser
