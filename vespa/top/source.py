"""Asks an admin port for its status: once, or as a stream of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from vespa.http.agent import Agent
from vespa.http.interfaces import UpstreamError
from vespa.runtime.deadlines import within
from vespa.runtime.http_client import BoundedClient, CallError, cause
from vespa.transport.origin import Origin

PORTS: Final = range(9464, 9464 + 16)
"""The ports that are tried where none is given: those of `VESPA_ADMIN_LISTEN` and `--admin-listen`."""
ASK_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 5.0
"""The time without an event after which a stream counts as lost. There is one a second."""
DOCUMENT_MAX: Final = 8 << 20
EVENT_MAX: Final = 1 << 20


class SourceError(Exception):
    """There is no status. The text is for people. `absent`: nothing that serves one listens there."""

    def __init__(self, message: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


@frozen
class Place:
    """Where an admin port is: a URL without path, or a Unix socket."""

    url: str
    socket: str = ""

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url

    @classmethod
    def parse(cls, text: str) -> Place:
        """`http://host:port`, `https://…`, `host:port`, a port of this machine, or `unix:/path`. Raises ValueError."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").partition(":")[0]  # as in an endpoint string, without its arguments
            if not path:
                raise ValueError("unix: needs the path of a socket")
            return cls("http://localhost", path)
        text = text.removeprefix(":")
        if text.isascii() and text.isdigit():
            text = f"127.0.0.1:{text}"
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "http", text
        url = f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"
        Origin.parse(url)
        return cls(url)


class Source:
    """One admin port."""

    def __init__(self, reactor: Any, place: Place, *, token: str = "", trust: object | None = None) -> None:
        """`trust` is a Twisted trust root for https; None: the system's."""
        self.place = place
        self._clock: IReactorTime = reactor
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._agent = Agent(
            reactor,
            connect_timeout=ASK_SECONDS,
            persistent=False,
            trust=trust,
            unix_socket=place.socket,
            name="admin port",
        )
        self._http = BoundedClient(self._agent, reactor, self._headers)

    async def document(self) -> dict[str, Any]:
        """The whole status document. Raises SourceError."""
        try:
            response = await self._http.request(
                "GET", f"{self.place.url}/status.json", timeout=ASK_SECONDS, limit=DOCUMENT_MAX
            )
        except CallError as error:
            raise self._unreachable(error.cause or error) from None
        if response.status != 200:
            raise self._refused(response.status, response.header("X-Vespa-Error"))
        document = _object(response.body) if response.whole else None
        if document is None or "kind" not in document:
            raise SourceError(f"{self.place} does not answer with a status document", absent=True)
        return document

    async def follow(self, on_event: Callable[[Mapping[str, Any]], object]) -> None:
        """Call `on_event` with each event until the stream ends. Raises SourceError, also if it is silent."""
        headers = Headers({name: [value] for name, value in self._headers.items()})
        uri = f"{self.place.url}/events".encode("ascii")
        try:
            response = await within(ASK_SECONDS, self._clock, self._agent.request(b"GET", uri, headers))
        except CancelledError:
            raise
        except Exception as error:
            raise self._unreachable(cause(error) or error) from None
        if response.code != 200:
            raise self._refused(response.code, (response.headers.getRawHeaders("X-Vespa-Error") or [""])[0])
        reader = _Reader(self._clock, on_event)
        response.deliverBody(reader)
        if not await reader.done:
            raise SourceError(f"{self.place} has sent nothing for {SILENT_SECONDS:g} s")

    def _unreachable(self, error: BaseException) -> SourceError:
        absent = isinstance(error, UpstreamError) and error.refused
        text = str(error).rstrip(".") or type(error).__name__
        if "certificate" in text or "VerificationError" in text:
            return SourceError(f"{self.place}: its certificate is not trusted: name its roots with --ca-file ({text})")
        if absent:
            text = "nothing listens there: give the address that the log shows after `status page and metrics:`"
        return SourceError(f"{self.place}: {text}", absent=absent)

    def _refused(self, status: int, code: str) -> SourceError:
        if status == 401:
            return SourceError(f"{self.place} needs the admin token: give it as VESPA_ADMIN_TOKEN or with --token")
        if code == "too_many_streams":
            return SourceError(f"{self.place} has as many readers as it may have")
        return SourceError(f"{self.place} answers with the status {status}", absent=not code)


class _Reader(Protocol):
    """Reads server-sent events. `done` fires with whether the stream ended; False: it was silent, and is cut."""

    def __init__(self, clock: IReactorTime, on_event: Callable[[Mapping[str, Any]], object]) -> None:
        self._on_event = on_event
        self._rest = b""
        self._is_over = False
        self._timer = clock.callLater(SILENT_SECONDS, self._give_up)
        self.done: Deferred[bool] = Deferred(lambda _: self._cut())

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        self._timer.reset(SILENT_SECONDS)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > EVENT_MAX:
            self._give_up()
            return
        for line in lines:
            if line.startswith(b"data: ") and (document := _object(line[6:])) is not None:
                self._on_event(document)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._is_over:
            self._end()
            self.done.callback(True)

    def _give_up(self) -> None:
        self._cut()
        self.done.callback(False)

    def _cut(self) -> None:
        """Close the connection. This ends nothing else: `connectionLost` may be called within it."""
        self._end()
        transport: Any = self.transport
        transport.stopProducing()

    def _end(self) -> None:
        self._is_over = True
        if self._timer.active():
            self._timer.cancel()


def _object(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None if the data is none."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def find(reactor: Any, *, token: str, trust: object | None) -> tuple[Source, dict[str, Any]]:
    """The first admin port of this machine, and its document. Raises SourceError."""
    for port in PORTS:
        source = Source(reactor, Place.parse(str(port)), token=token, trust=trust)
        try:
            return source, await source.document()
        except SourceError as error:
            if not error.absent:
                raise
    raise SourceError(
        f"no worker and no client has its admin port at 127.0.0.1, ports {PORTS[0]} to {PORTS[-1]}: start one, "
        "or give the address that its log shows after `status page and metrics:`",
        absent=True,
    )
