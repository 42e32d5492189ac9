"""The `session` of a benchmark: what is used of aiohttp's ClientSession, over treq.

Runs in the benchmark's own process, where asyncio's loop is Twisted's reactor.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

from treq.client import HTTPClient
from twisted.internet import error as network
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers as TwistedHeaders

from vespa.benchmarking import contract
from vespa.benchmarking.aiohttp_names import installed, names
from vespa.benchmarking.session_agent import backend_client
from vespa.benchmarking.session_body import Deadline, reasons
from vespa.benchmarking.session_encoding import basic_auth, encode_body, resolve
from vespa.benchmarking.session_response import ClientResponse
from vespa.runtime.treq_url import treq_url

_UNSET: Any = object()
_REDIRECTS = (301, 302, 303, 307, 308)
_CANNOT_CONNECT = (network.ConnectError, network.DNSLookupError, network.TimeoutError)
# Understood by aiohttp and of no effect here: the contract is about requests, not about connections.
_IGNORED = frozenset(
    "ssl verify_ssl ssl_context fingerprint server_hostname proxy proxy_auth proxy_headers compress chunked expect100 "
    "read_until_eof read_bufsize auto_decompress skip_auto_headers trace_request_ctx version".split()
)


class _Request:
    """One request: sent when it is awaited or entered, as aiohttp's is."""

    def __init__(self, send: Callable[[], Coroutine[Any, Any, ClientResponse]]) -> None:
        self._send = send
        self._response: ClientResponse | None = None

    def __await__(self) -> Generator[Any, None, ClientResponse]:
        return self._send().__await__()

    async def __aenter__(self) -> ClientResponse:
        self._response = await self
        return self._response

    async def __aexit__(self, *raised: object) -> None:
        if self._response is not None:
            self._response.release()


class ClientSession:
    """Requests to one backend; what is not said here is as in aiohttp, and its unknown options are refused."""

    def __init__(
        self,
        base_url: object = None,
        *,
        client: HTTPClient | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
        raise_for_status: bool = False,
        auth: Any = None,
        **unused: Any,
    ) -> None:
        self._base = str(base_url or "")
        self._client = self.make_client(self._base) if client is None else client
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._raise_for_status = raise_for_status
        self._auth = auth
        self.closed = False

    def request(self, method: str, url: object, **options: Any) -> _Request:
        unknown = sorted(options.keys() - _OPTIONS - _IGNORED)
        if unknown:
            raise TypeError(f"request() got an unexpected keyword argument {unknown[0]!r}")
        return _Request(lambda: self.send(method.upper(), url, **options))

    def get(self, url: object, **options: Any) -> _Request:
        return self.request("GET", url, **options)

    def post(self, url: object, **options: Any) -> _Request:
        return self.request("POST", url, **options)

    def put(self, url: object, **options: Any) -> _Request:
        return self.request("PUT", url, **options)

    def delete(self, url: object, **options: Any) -> _Request:
        return self.request("DELETE", url, **options)

    def patch(self, url: object, **options: Any) -> _Request:
        return self.request("PATCH", url, **options)

    def head(self, url: object, **options: Any) -> _Request:
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def options(self, url: object, **options: Any) -> _Request:
        return self.request("OPTIONS", url, **options)

    def make_client(self, base_url: str) -> HTTPClient:
        raise TypeError("this session needs a client")

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> ClientSession:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def send(
        self,
        method: str,
        url: object,
        *,
        params: object = None,
        json: object = None,
        data: object = None,
        headers: Mapping[str, Any] | None = None,
        timeout: Any = _UNSET,
        auth: Any = None,
        cookies: Mapping[str, str] | None = None,
        allow_redirects: bool = True,
        max_redirects: int = 10,
        raise_for_status: bool | None = None,
        **ignored: Any,
    ) -> ClientResponse:
        """Send a request; the response as soon as its head has arrived. Fails as aiohttp does."""
        deadline = Deadline(_total(self._timeout if timeout is _UNSET else timeout))
        try:
            target = resolve(self._base, url, params)
        except ValueError as error:
            raise names().InvalidURL(url, str(error)) from error
        body, kind = encode_body(json, data)
        fields = self._fields(headers, auth, kind)
        history: list[ClientResponse] = []
        while True:
            response = await self._exchange(method, target, fields, body, cookies, deadline, history)
            location = response.headers.get("Location")
            if not (allow_redirects and response.status in _REDIRECTS and location):
                break
            response.release()
            history.append(response)
            if len(history) > max_redirects:
                raise names().TooManyRedirects(response.request_info, tuple(history))
            if (response.status == 303 and method != "HEAD") or (response.status in (301, 302) and method == "POST"):
                method, body = "GET", None
                fields.removeHeader("Content-Type")
            previous, target = target, urljoin(target, location)
            if urlsplit(previous)[:2] != urlsplit(target)[:2]:
                fields.removeHeader("Authorization")
        if self._raise_for_status if raise_for_status is None else raise_for_status:
            response.raise_for_status()
        return response

    def _fields(self, headers: Mapping[str, Any] | None, auth: Any, kind: str | None) -> TwistedHeaders:
        fields = TwistedHeaders({"Accept": ["*/*"], "User-Agent": ["vespa-benchmark"]})
        if kind is not None:
            fields.setRawHeaders("Content-Type", [kind])
        if auth or self._auth:
            fields.setRawHeaders("Authorization", [basic_auth(auth or self._auth)])
        for given in (self._headers, headers or {}):
            for name in given:
                fields.removeHeader(name)
            for name, value in given.items():
                fields.addRawHeader(name, str(value))
        for framing in ("Content-Length", "Transfer-Encoding"):  # Twisted adds its own beside a caller's
            fields.removeHeader(framing)
        return fields

    async def _exchange(
        self,
        method: str,
        url: str,
        fields: TwistedHeaders,
        body: bytes | None,
        cookies: Mapping[str, str] | None,
        deadline: Deadline,
        history: list[ClientResponse],
    ) -> ClientResponse:
        """One request and the head of its response, redirects not followed."""
        try:
            pending = self._client.request(
                method,
                treq_url(url),
                headers=fields.copy(),
                data=body,
                cookies=cookies,
                allow_redirects=False,
                unbuffered=True,
            )
            response = await deadline(pending.asFuture(asyncio.get_running_loop()))
        except asyncio.TimeoutError:
            raise
        except Exception as error:
            raise _as_aiohttp(error, url) from error
        return ClientResponse(method, url, response, deadline, tuple(history))


_OPTIONS = frozenset(ClientSession.send.__kwdefaults__ or ())


def _total(timeout: Any) -> float | None:
    """Seconds for the whole exchange: a number, or the `total` of a ClientTimeout; None and 0 are for ever."""
    total = getattr(timeout, "total", timeout)
    return float(total) if total else None


def _as_aiohttp(error: Exception, url: str) -> Exception:
    """The exception that aiohttp raises where Twisted's client fails with `error`."""
    module = names()
    if isinstance(error, (SchemeNotSupported, ValueError)):
        failed = module.InvalidURL(url, str(error))
    elif isinstance(error, _CANNOT_CONNECT):
        parts = urlsplit(url)
        key = SimpleNamespace(host=parts.hostname, port=parts.port, ssl=True, is_ssl=parts.scheme == "https")
        number = getattr(error, "osError", None) or 0
        failed = module.ClientConnectorError(key, OSError(number, reasons(error)))
    else:
        failed = module.ServerDisconnectedError(reasons(error))
    assert isinstance(failed, Exception)
    return failed


def provide_aiohttp(reactor: Any, backend_url: str = "", authorization: str = "") -> type[ClientSession]:
    """Make `import aiohttp` work in this process even where it is not installed.

    Gives the class of session that works with `reactor`, and that a benchmark may make more of; requests to the backend
    carry `authorization`, as those of the first session do.
    """

    class BoundSession(ClientSession):
        def make_client(self, base_url: str) -> HTTPClient:
            ours = base_url in ("", backend_url)
            return backend_client(reactor, base_url or backend_url, authorization=authorization if ours else "")

    if not installed():
        module = names()
        module.ClientSession, module.ClientResponse = BoundSession, ClientResponse
        sys.modules["aiohttp"] = module
    return BoundSession


_check: type[contract.Session] = ClientSession
