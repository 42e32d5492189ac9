"""Benchmarks in real processes: how the tests start them, the backend that they ask, and their death."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import Any

from twisted.internet import reactor as typed_reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from vespa.benchmarking.process import BenchmarkError
from vespa.benchmarking.runner import Runner

reactor: Any = typed_reactor

ENVIRONMENT = {
    name: os.environ[name] for name in ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START") if name in os.environ
}
# Some tests write the same file several times within a second, which a bytecode cache does not notice.
ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] = "1"


class Backend(Resource):
    """Tells what it was asked; streams, redirects, fails and cuts off by path."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        response = getattr(self, "at_" + request.path.decode().strip("/"), self.at_echo)
        return response(request)

    def at_echo(self, request: Any) -> bytes:
        request.setHeader("Content-Type", "application/json; charset=utf-8")
        kind = request.getHeader("Content-Type") or ""
        body = request.content.read().decode("utf-8", "replace")
        if "boundary" in kind:
            boundary = kind.partition("boundary=")[2].strip('"')
            kind, body = kind.partition(";")[0], str(body.count(boundary))
        if "json" in kind:
            body = json.loads(body)
        seen = {"method": request.method.decode(), "uri": request.uri.decode(), "kind": kind, "body": body}
        return json.dumps(
            {**seen, "mine": request.getHeader("X-Mine"), "auth": request.getHeader("Authorization")}
        ).encode()

    def at_lines(self, request: Any) -> bytes:
        return b"data: 1\n\ndata: 2\nlast"

    def at_broken(self, request: Any) -> bytes:
        request.setResponseCode(503)
        return b"not now"

    def at_text(self, request: Any) -> bytes:
        request.setHeader("Content-Type", "text/plain; charset=latin-1")
        return b"caf\xe9"

    def at_many(self, request: Any) -> bytes:
        request.responseHeaders.setRawHeaders("X-Many", ["1", "2"])
        return b""

    def at_moved(self, request: Any) -> bytes:
        request.setResponseCode(302)
        request.setHeader("Location", "/echo?moved")
        return b"elsewhere"

    def at_kept(self, request: Any) -> bytes:
        request.setResponseCode(307)
        request.setHeader("Location", "/echo")
        return b""

    def at_circle(self, request: Any) -> bytes:
        request.setResponseCode(302)
        request.setHeader("Location", "/circle")
        return b""

    def at_cut(self, request: Any) -> int:
        request.setHeader("Content-Length", "100")
        request.write(b"some")
        request.transport.loseConnection()
        return NOT_DONE_YET

    def at_never(self, request: Any) -> int:
        request.notifyFinish().addErrback(lambda failure: None)
        return NOT_DONE_YET


class ChildCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "bench.py"
        self.clock = Clock()
        self.lines: list[str] = []
        self.said: dict[str, Deferred[None]] = {}
        self.url = "http://127.0.0.1:1"

    def serve(self) -> None:
        port = reactor.listenTCP(0, Site(Backend()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"

    def heard(self, line: str) -> None:
        self.lines.append(line)
        if line in self.said:
            self.said.pop(line).callback(None)

    def says(self, line: str) -> Deferred[None]:
        """Fires when the benchmark has printed this line."""
        self.said[line] = Deferred()
        return self.said[line]

    def start(self, source: str = "", spec: str = "", **changes: Any) -> Deferred[float]:
        self.path.write_text(textwrap.dedent(source))
        runner = Runner(reactor, changes.pop("clock", self.clock), changes.pop("environment", ENVIRONMENT))
        options: dict[str, Any] = {"timeout": 600.0, "on_progress": self.heard, **changes}
        return Deferred.fromCoroutine(runner.run(spec or f"{self.path}:benchmark", self.url, **options))

    async def error(self, source: str = "", spec: str = "", **changes: Any) -> str:
        try:
            result = await self.start(source, spec, **changes)
        except BenchmarkError as error:
            return str(error)
        self.fail(f"it gave {result}")


class _Death(FileDescriptor):
    """Readable once a process is dead, whoever's child it is."""

    def __init__(self, pid: int) -> None:
        super().__init__(reactor)
        self.fired: Deferred[None] = Deferred()
        self.descriptor = os.pidfd_open(pid)
        self.startReading()

    def fileno(self) -> int:
        return self.descriptor

    def doRead(self) -> None:
        self.stopReading()
        os.close(self.descriptor)
        self.fired.callback(None)


async def death(pid: int) -> None:
    """Returns once the process is dead, if it is not already."""
    try:
        watched = _Death(pid)
    except ProcessLookupError:
        return
    await watched.fired
