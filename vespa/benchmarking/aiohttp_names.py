"""aiohttp's own names where it is installed, and a stand-in where it is not.

Benchmarks were written with `from aiohttp import ClientSession, ClientTimeout` at their top and
`except aiohttp.ClientError` within; Vespa does not depend on aiohttp, so the names must come from somewhere.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
from types import ModuleType
from typing import Any, NamedTuple

STAND_IN = "vespa.benchmarking.aiohttp_names.aiohttp"


class ClientTimeout(NamedTuple):
    """Seconds; only `total` has an effect here."""

    total: float | None = None
    connect: float | None = None
    sock_read: float | None = None
    sock_connect: float | None = None
    ceil_threshold: float = 5


class BasicAuth(NamedTuple):
    login: str
    password: str = ""
    encoding: str = "latin1"


class FormData:
    """Fields of a form, sent as multipart where one of them is a file or bytes."""

    def __init__(self, fields: Any = (), quote_fields: bool = True, charset: str | None = None) -> None:
        self._fields: list[tuple[dict[str, str], dict[str, str], Any]] = []
        for name, value in fields.items() if hasattr(fields, "items") else fields:
            self.add_field(name, value)

    def add_field(
        self, name: str, value: Any, *, content_type: str | None = None, filename: str | None = None, **unused: Any
    ) -> None:
        options = {"name": name}
        if filename is not None:
            options["filename"] = filename
        self._fields.append((options, {} if content_type is None else {"Content-Type": content_type}, value))


class Ignored:
    """A connector, a cookie jar, a trace configuration: taken and of no effect."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass


class ClientError(Exception):
    """What every failure of the client is."""


class ClientResponseError(ClientError):
    def __init__(
        self, request_info: Any, history: tuple[Any, ...], *, status: int = 0, message: str = "", headers: Any = None
    ) -> None:
        super().__init__(request_info, history)
        self.request_info, self.history = request_info, history
        self.status, self.message, self.headers = status, message, headers

    def __str__(self) -> str:
        return f"{self.status}, message={self.message!r}, url={str(self.request_info.real_url)!r}"


class TooManyRedirects(ClientResponseError):
    pass


class ContentTypeError(ClientResponseError):
    pass


class ClientConnectionError(ClientError):
    pass


class ClientOSError(ClientConnectionError, OSError):
    pass


class ClientConnectorError(ClientOSError):
    def __init__(self, connection_key: Any, os_error: OSError) -> None:
        super().__init__(os_error.errno, os_error.strerror)
        self.host, self.port = connection_key.host, connection_key.port

    def __str__(self) -> str:
        return f"Cannot connect to host {self.host}:{self.port} [{self.strerror}]"


class ServerConnectionError(ClientConnectionError):
    pass


class ServerDisconnectedError(ServerConnectionError):
    pass


class ServerTimeoutError(ServerConnectionError, asyncio.TimeoutError):
    pass


class ClientPayloadError(ClientError):
    pass


class InvalidURL(ClientError, ValueError):
    def __init__(self, url: Any, description: str | None = None) -> None:
        super().__init__(url, description)


def stand_in() -> ModuleType:
    """A module that holds the names above; what only aiohttp has is an AttributeError, as ever."""
    module = ModuleType(STAND_IN, "The part of aiohttp that Vespa's benchmarks may name.")
    for name, value in globals().items():
        if isinstance(value, type) and value.__module__ == __name__ and value is not Ignored:
            setattr(module, name, value)
    for name in ("TCPConnector", "UnixConnector", "DummyCookieJar", "CookieJar", "TraceConfig"):
        setattr(module, name, Ignored)
    return module


def installed() -> bool:
    """Whether there is an aiohttp, without the third of a second that importing it takes."""
    return importlib.util.find_spec("aiohttp") is not None


@functools.cache
def names() -> Any:
    """The module that a benchmark gets by `import aiohttp`."""
    return importlib.import_module("aiohttp") if installed() else stand_in()
