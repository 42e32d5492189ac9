"""The response to a benchmark's request: what is used of aiohttp's ClientResponse."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Generator, ItemsView, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

from twisted.web.http_headers import Headers as TwistedHeaders
from twisted.web.iweb import IResponse

from vespa.benchmarking import contract
from vespa.benchmarking.aiohttp_names import names
from vespa.benchmarking.session_body import Body, Deadline

_SHOWN = 100  # characters of a body that is not what it should be
_UNSET: Any = object()


class Headers(Mapping[str, str]):
    """A response's headers: names in any case, repeats kept in order, the first one found by its name."""

    def __init__(self, raw: TwistedHeaders) -> None:
        self.pairs = [
            (name.decode("latin-1"), value.decode("utf-8", "surrogateescape"))
            for name, values in raw.getAllRawHeaders()
            for value in values
        ]

    def __getitem__(self, name: str) -> str:
        return self.getall(name)[0]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def items(self) -> ItemsView[str, str]:
        return _Items(self)

    def getall(self, name: str, default: Any = _UNSET) -> list[str]:
        """Every value of `name`; KeyError where there is none and no default."""
        values = [value for each, value in self.pairs if each.lower() == name.lower()]
        if values:
            return values
        if default is _UNSET:
            raise KeyError(name)
        return cast("list[str]", default)

    def getone(self, name: str, default: Any = _UNSET) -> str:
        return self[name] if default is _UNSET else self.get(name, default)


class _Items(ItemsView[str, str]):
    """Each header as it came, where a Mapping's own view would look every name up and find its first value."""

    _mapping: Headers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._mapping.pairs)


class ClientResponse:
    """The response to one request; its body arrives through `content`."""

    def __init__(self, method: str, url: str, response: IResponse, deadline: Deadline, history: tuple[Any, ...]):
        self.method, self.url, self.history = method, url, history
        self.real_url = url
        self.status: int = response.code
        self.reason: str = response.phrase.decode("latin-1")
        self.headers = Headers(response.headers)
        self.request_info = SimpleNamespace(url=url, real_url=url, method=method, headers={})
        self.content = Body(deadline)
        self._body: bytes | None = None
        response.deliverBody(self.content)

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        for option in self.headers.get("Content-Type", "").split(";")[1:]:
            name, _, value = option.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'")
        return None

    def raise_for_status(self) -> None:
        """ClientResponseError on 400 and above."""
        if not self.ok:
            self.release()
            raise names().ClientResponseError(
                self.request_info, self.history, status=self.status, message=self.reason, headers=self.headers
            )

    async def read(self) -> bytes:
        """The whole body, kept for the next call. Fails with ClientPayloadError or asyncio.TimeoutError."""
        if self._body is None:
            self._body = await self.content.read()
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        return (await self.read()).decode(encoding or self.charset or "utf-8", errors)

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json_module.loads,
        content_type: str | None = None,
    ) -> Any:
        """The body as JSON, whatever content type the backend gave it; None for an empty one.

        JSONDecodeError, a ValueError, where it is none: it names the URL, less its query, and how the body begins.
        """
        text = (await self.text(encoding)).strip()
        try:
            return loads(text) if text else None
        except json_module.JSONDecodeError as error:
            url, begin = str(self.url).partition("?")[0], " ".join(text[:_SHOWN].split())
            message = f"{url} answered {self.status} with what is not JSON, {begin!r}: {error.msg}"
            raise json_module.JSONDecodeError(message, error.doc, error.pos) from None

    def release(self) -> _Nothing:
        """Want no more of the body."""
        self.content.close()
        return _Nothing()

    def close(self) -> None:
        self.content.close()

    async def __aenter__(self) -> ClientResponse:
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.release()


class _Nothing:
    """What may be awaited and need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_check: type[contract.Response] = ClientResponse
