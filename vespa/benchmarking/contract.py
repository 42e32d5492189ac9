"""What a benchmark is given and gives back: the part of aiohttp's client that benchmarks are written against."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from numbers import Real
from typing import Any, Protocol


class Content(Protocol):
    """The body of a response as it arrives; iterating it gives lines."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def iter_any(self) -> AsyncIterator[bytes]: ...

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]: ...

    async def readline(self) -> bytes: ...

    async def read(self, n: int = -1) -> bytes: ...


class Response(Protocol):
    """The response to one request."""

    status: int
    reason: str

    @property
    def ok(self) -> bool: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> Content: ...

    def raise_for_status(self) -> None: ...

    async def read(self) -> bytes: ...

    async def text(self) -> str: ...

    async def json(self, *, content_type: str | None = None) -> Any: ...


class Pending(AbstractAsyncContextManager[Response], Protocol):
    """A request on its way: `async with` it, or `await` it."""

    def __await__(self) -> Generator[Any, None, Response]: ...


class Session(Protocol):
    """Sends requests to the backend: relative URLs belong to it, absolute ones go where they say."""

    def request(self, method: str, url: str, **options: Any) -> Pending: ...

    def get(self, url: str, **options: Any) -> Pending: ...

    def post(self, url: str, **options: Any) -> Pending: ...

    def put(self, url: str, **options: Any) -> Pending: ...

    def delete(self, url: str, **options: Any) -> Pending: ...

    def patch(self, url: str, **options: Any) -> Pending: ...

    def head(self, url: str, **options: Any) -> Pending: ...


Benchmark = Callable[[str, Session], Awaitable[float]]
"""`async def benchmark(backend_url, session) -> float`: the backend's throughput in units of work per second."""


class Figure(float):
    """A benchmark's result that says more than a number: units of work per second, and how they were had."""

    concurrency: int
    """Requests at once when it was measured; 0 where that is not told."""
    served: str
    """What the backend said it serves, for comparison only; "" where it does not tell."""

    def __new__(cls, value: float, concurrency: int = 0, served: str = "") -> Figure:
        figure = super().__new__(cls, value)
        figure.concurrency = concurrency
        figure.served = served
        return figure


def throughput(value: object) -> float:
    """A benchmark's result as a float: units of work per second.

    ValueError says what is wrong with anything but a finite number above zero; True is not a number here.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{type(value).__name__} is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("the number is too large") from None
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    if number <= 0.0:
        raise ValueError(f"{number:g} is not above zero")
    return number
