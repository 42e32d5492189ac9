"""The `session` of a benchmark: aiohttp's ClientSession, set up for the worker's backend.

This is the one module of Vespa that imports aiohttp, and the benchmark's own process is the only one that imports it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.tracing import Trace
from yarl import URL

CONNECT_SECONDS = 30.0
"""From the beginning of a connection to its failure; aiohttp's own default."""
IDLE_SECONDS = 0.1
"""How long a connection is kept for the next request.

A server with few threads gives one to each idle connection: with 2 s, llama.cpp was seen to take 8 s for ten requests
of 0.1 s. With none, a round of many requests meets the backlog of 5 that simple servers have, and waits a second for
its SYN to be sent again.
"""
BUFFER_BYTES = 4 * 1024 * 1024
"""aiohttp reads up to twice as much of a body before the benchmark does, and takes no longer line; its own default of
64 KiB fails at an event that carries an image."""
_UNIX_ORIGIN = "http://localhost"  # the Host field of requests to a unix socket
_SCHEMES = frozenset({"http:", "https:", "ws:", "wss:"})
_TAKE_A_URL = frozenset({"get", "options", "head", "post", "put", "patch", "delete", "ws_connect"})
_SHOWN = 100  # characters of a body that is not JSON


class BackendResponse(aiohttp.ClientResponse):
    """aiohttp's response, whose `json()` takes any content type and tells what it was given."""

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json.loads,
        content_type: str | None = None,
    ) -> Any:
        """The body as JSON; None for an empty one.

        JSONDecodeError, a ValueError, where it is none: it names the URL, less its query, and how the body begins.
        """
        try:
            return await super().json(encoding=encoding, loads=loads, content_type=content_type)
        except json.JSONDecodeError as error:
            begin = " ".join(error.doc[:_SHOWN].split())
            message = (
                f"{self.url.with_query(None)} answered {self.status} with what is not JSON, {begin!r}: {error.msg}"
            )
            raise json.JSONDecodeError(message, error.doc, error.pos) from None


class BackendSession:
    """An aiohttp.ClientSession whose relative URLs are the backend's.

    It passes everything on to the session, which aiohttp does not want to be subclassed. aiohttp's `base_url` would not
    do: it loses the path prefix of a backend where a URL begins with a slash, and knows no unix sockets.
    """

    def __init__(self, session: aiohttp.ClientSession, backend_url: str) -> None:
        self._session = session
        self._backend_url = backend_url

    def request(self, method: str, url: str | URL, **options: Any) -> Any:
        return self._session.request(method, locate(self._backend_url, url), **options)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if name not in _TAKE_A_URL:
            return found
        return lambda url, **options: found(locate(self._backend_url, url), **options)

    async def __aenter__(self) -> BackendSession:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._session.close()


def backend_session(backend_url: str, ca_file: str = "", authorization: str = "") -> BackendSession:
    """A session for the backend at `backend_url`: http, https, or `unix:` and the path of a socket. To be closed.

    `ca_file` holds the PEM certificates to trust in place of the system's. `authorization` is sent with requests to the
    backend that have no Authorization of their own, and nowhere else; "" for none. There is no timeout but that of
    connecting, no proxy, and no bound on connections, since a benchmark's own concurrency is what is measured. OSError
    where `ca_file` cannot be read, ValueError where it holds no certificate.
    """
    pool: dict[str, Any] = {"limit": 0, "keepalive_timeout": IDLE_SECONDS}
    trust = _trust(ca_file)
    origin = URL(backend_url)
    connector: aiohttp.BaseConnector
    if backend_url.startswith("unix:"):
        origin = URL(_UNIX_ORIGIN)
        unix = aiohttp.UnixConnector(backend_url.removeprefix("unix:"), **pool)
        connector = _UnixOrTCP(origin, unix, ssl=trust, **pool)
    else:
        connector = aiohttp.TCPConnector(ssl=trust, **pool)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.CookieJar(unsafe=True),  # a backend's host is an address, most often
        headers={"User-Agent": "vespa-benchmark"},
        middlewares=[_authorize(origin, authorization), send_again] if authorization else [send_again],
        read_bufsize=BUFFER_BYTES,
        response_class=BackendResponse,
        timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS),
        trust_env=False,
    )
    return BackendSession(session, backend_url)


def locate(backend_url: str, url: str | URL) -> str | URL:
    """`url` where it is absolute, or else the URL that it has at the backend, whose own path is a prefix."""
    text = str(url)
    if backend_url.startswith("unix:"):
        text = text.removeprefix(backend_url)  # a benchmark may have put the two together
        backend_url = _UNIX_ORIGIN
    if text.partition("/")[0].lower() in _SCHEMES:
        return url
    return backend_url.rstrip("/") + ("" if text.startswith(("/", "?")) else "/") + text


class _UnixOrTCP(aiohttp.TCPConnector):
    """Connects to a unix socket for one origin, and by TCP for every other."""

    def __init__(self, origin: URL, unix: aiohttp.UnixConnector, **options: Any) -> None:
        super().__init__(**options)
        self._origin, self._unix = origin, unix

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        if same_origin(req.url, self._origin):
            return await self._unix.connect(req, traces, timeout)
        return await super().connect(req, traces, timeout)

    async def close(self, *, abort_ssl: bool = False) -> None:
        await self._unix.close()
        await super().close(abort_ssl=abort_ssl)


def _authorize(origin: URL, authorization: str) -> aiohttp.ClientMiddlewareType:
    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if same_origin(request.url, origin):
            request.headers.setdefault("Authorization", authorization)
        return await handler(request)

    return authorize


async def send_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once more whose connection was closed before there was a response, as aiohttp does with GET.

    llama.cpp closes a connection after each stream, and does not say so: the next request may have been sent by then.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        if not isinstance(request.body, (bytes, aiohttp.BytesPayload)):
            raise  # a file may have been read already
    return await handler(request)


def same_origin(one: URL, other: URL) -> bool:
    """Whether two URLs have scheme, host and port in common, a default port too."""
    return (one.scheme, one.raw_host, one.port) == (other.scheme, other.raw_host, other.port)


def _trust(ca_file: str) -> ssl.SSLContext:
    """What a server must show: a certificate of its own name, as the worker wants it when it serves requests."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file} holds no certificate: {error}") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which Python 3.13 sets, and the worker does not
    context.hostname_checks_common_name = False
    return context
