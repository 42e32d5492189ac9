"""The `session` of a benchmark: aiohttp's ClientSession, set up for the worker's backend.

This module and child.py import aiohttp. Only the benchmark's own process imports them, never the worker's.
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
"""The time limit for connecting; it is also aiohttp's default."""
IDLE_SECONDS = 0.1
"""How long an idle connection is kept for the next request.

Some servers have few threads and reserve one for each idle connection: with 2 s here, llama.cpp took 8 s for ten
requests of 0.1 s. Without kept connections, many requests at once overflow the backlog of 5 that simple servers have,
and wait a second until TCP sends their SYN again.
"""
BUFFER_BYTES = 4 * 1024 * 1024
"""aiohttp buffers up to twice as much of a body, and raises an error for a longer line. Its default of 64 KiB is too
small for an event that carries an image."""
_UNIX_ORIGIN = "http://localhost"  # the Host field of requests to a unix socket
_SCHEMES = frozenset({"http:", "https:", "ws:", "wss:"})
_HTTP = {"ws": "http", "wss": "https"}  # a WebSocket begins as a request
_TAKE_A_URL = frozenset({"get", "options", "head", "post", "put", "patch", "delete", "ws_connect"})
_SHOWN = 100  # characters of a body that is not JSON


class BackendResponse(aiohttp.ClientResponse):
    """aiohttp's response. Its `json()` accepts any content type, and its error shows the body."""

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json.loads,
        content_type: str | None = None,
    ) -> Any:
        """The body as JSON, or None if it is empty.

        Raises JSONDecodeError, a ValueError, that names the URL without its query and shows the body's beginning.
        """
        try:
            return await super().json(encoding=encoding, loads=loads, content_type=content_type)
        except json.JSONDecodeError as error:
            url, begin = self.url.with_query(None), " ".join(error.doc[:_SHOWN].split())
            message = f"{url} answered {self.status} with a body other than JSON, {begin!r}: {error.msg}"
            raise json.JSONDecodeError(message, error.doc, error.pos) from None


class BackendSession:
    """An aiohttp.ClientSession whose relative URLs are the backend's.

    It passes all calls on to a session, because aiohttp discourages subclasses. aiohttp's `base_url` is not enough: it
    drops the backend's path prefix if a URL begins with a slash, and it knows no Unix sockets.
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
    """A session for the backend at `backend_url`: http, https, or `unix:` and the path of a socket. Close it after use.

    `ca_file` names a PEM file of roots to trust in place of the system's; "": the system's. `authorization` is added to
    requests to the backend without an Authorization of their own, and to no others; "": none. There is no timeout
    except for connecting, no proxy, and no limit on connections, because a benchmark measures with a concurrency of its
    own. Raises OSError if `ca_file` cannot be read, and ValueError if it holds no certificate.
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
    """`url` itself if it is absolute. Otherwise the absolute URL at the backend, below the backend's path prefix."""
    text = str(url)
    if backend_url.startswith("unix:"):
        text = text.removeprefix(backend_url)  # a benchmark may have put backend_url and a path together
        backend_url = _UNIX_ORIGIN
    if text.partition("/")[0].lower() in _SCHEMES:
        return url
    return backend_url.rstrip("/") + ("" if text.startswith(("/", "?")) else "/") + text


class _UnixOrTCP(aiohttp.TCPConnector):
    """Connects to a Unix socket for one origin, and over TCP for every other."""

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
    """Send a request once more if its connection is closed before the response; aiohttp does so for GET only.

    llama.cpp closes a connection after each stream without saying so: the next request may have been sent by then.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        if not isinstance(request.body, (bytes, aiohttp.BytesPayload)):
            raise  # the body may be a file that has been read
    return await handler(request)


def same_origin(one: URL, other: URL) -> bool:
    """Whether two URLs have the same scheme, host and port, which may be the default port. ws is http here."""
    schemes = [_HTTP.get(url.scheme, url.scheme) for url in (one, other)]
    return schemes[0] == schemes[1] and (one.raw_host, one.port) == (other.raw_host, other.port)


def _trust(ca_file: str) -> ssl.SSLContext:
    """The TLS context: a server must show a certificate for its name, by the same rules as in the worker's requests."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file} holds no certificate: {error}") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13 sets this; the worker's TLS does not
    context.hostname_checks_common_name = False
    return context
