"""A response's body: delivered by Twisted, read by asyncio, and paused where nobody reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from vespa.benchmarking.aiohttp_names import names

_HIGH_WATER = 262144  # bytes held before the backend is made to wait

_T = TypeVar("_T")


class Deadline:
    """The end of a whole exchange, from the request to the last byte: `total` seconds from now, or never."""

    def __init__(self, total: float | None) -> None:
        self._at = asyncio.get_running_loop().time() + total if total else None

    async def __call__(self, waited_for: Awaitable[_T]) -> _T:
        """Fires with what is waited for; fails with asyncio.TimeoutError, the other being cancelled."""
        if self._at is None:
            return await waited_for
        return await asyncio.wait_for(waited_for, self._at - asyncio.get_running_loop().time())


class Body(Protocol):
    """`response.content`: what aiohttp calls a StreamReader."""

    transport: IPushProducer  # type: ignore[assignment]  # what Twisted gives to a body's protocol

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self.paused = False
        """The backend is made to wait."""
        self._ended = False
        self._failure: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._changed.set()
        if len(self._buffer) > _HIGH_WATER and not self.paused:
            self.paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        # A body that only the connection's end delimits cannot be told from a cut one: aiohttp takes it as whole.
        if not reason.check(ResponseDone, PotentialDataLoss):
            self._failure = reason
        self._changed.set()

    def at_eof(self) -> bool:
        return self._ended and not self._buffer

    def close(self) -> None:
        """Want no more of it: a connection with some of the body still to come is closed."""
        if not self._ended:
            self._ended = True
            self.transport.stopProducing()

    async def readany(self) -> bytes:
        """What has arrived, at least a byte; b"" at the end. Fails with ClientPayloadError where the body was cut."""
        return self._take(len(self._buffer)) if await self._arrived() else b""

    async def read(self, n: int = -1) -> bytes:
        """At most `n` bytes, as soon as there is one; all that is left where `n` is negative."""
        if n >= 0:
            return self._take(n) if n and await self._arrived() else b""
        chunks = []
        while chunk := await self.readany():
            chunks.append(chunk)
        return b"".join(chunks)

    async def readexactly(self, n: int) -> bytes:
        while len(self._buffer) < n:
            if not await self._more():
                raise asyncio.IncompleteReadError(self._take(n), n)
        return self._take(n)

    async def readline(self) -> bytes:
        return await self.readuntil(b"\n")

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Bytes up to and with the separator, or what is left; b"" at the end."""
        searched = 0
        while (at := self._buffer.find(separator, searched)) < 0:
            searched = max(0, len(self._buffer) - len(separator) + 1)
            if not await self._more():
                return self._take(len(self._buffer))
        return self._take(at + len(separator))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line

    async def iter_any(self) -> AsyncIterator[bytes]:
        while chunk := await self.readany():
            yield chunk

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        while chunk := await self.read(n):
            yield chunk

    async def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        async for chunk in self.iter_any():
            yield chunk, True

    async def _arrived(self) -> bool:
        return bool(self._buffer) or await self._more()

    async def _more(self) -> bool:
        """True once there are more bytes than there were; False at the end."""
        before = len(self._buffer)
        while len(self._buffer) == before:
            if self._failure is not None:
                raise names().ClientPayloadError(f"Response payload is not completed: {reasons(self._failure)}")
            if self._ended:
                return False
            self._resume()
            self._changed.clear()
            await self._deadline(self._changed.wait())
        return True

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        if len(self._buffer) <= _HIGH_WATER:
            self._resume()
        return taken

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            if not self._ended:
                self.transport.resumeProducing()


def reasons(failure: Any) -> str:
    """What went wrong, of a Failure or an exception, out of the lists that Twisted's client wraps it in."""
    error = getattr(failure, "value", failure)
    inner = getattr(error, "reasons", None)
    if inner:
        return "; ".join(dict.fromkeys(reasons(each) for each in inner))
    return str(error) or type(error).__name__
