"""Several parts that read responses, as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponseReader

ReaderOf = Callable[[Exchange, ResponseHead, int], ResponseReader | None]
"""
The reader of a response, as `proxy.app.App` asks for it: with the response's head and its Content-Length, or -1.

None: nobody reads it.
"""


def combined(*parts: ReaderOf | None) -> ReaderOf | None:
    """What lets all these parts read; None if there are none."""
    present = [part for part in parts if part is not None]
    if len(present) < 2:
        return present[0] if present else None

    def reader(exchange: Exchange, head: ResponseHead, length: int) -> ResponseReader | None:
        readers = [found for part in present if (found := part(exchange, head, length)) is not None]
        return Readers(readers) if len(readers) > 1 else readers[0] if readers else None

    return reader


class Readers:
    """Several readers of one response. Each of them is told everything."""

    __slots__ = ("_readers",)

    def __init__(self, readers: Sequence[ResponseReader]) -> None:
        self._readers = readers

    def read(self, data: bytes) -> None:
        for reader in self._readers:
            reader.read(data)

    def end(self) -> bool:
        """Whether the backend still works for the request, as one of them knows."""
        works = False
        for reader in self._readers:
            works = reader.end() or works
        return works

    def lost(self) -> None:
        for reader in self._readers:
            reader.lost()


_check: type[ResponseReader] = Readers
