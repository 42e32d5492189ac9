"""The server behind the proxies: `python -m perf.backend KEY.pem ASSIGNMENT.json`. It is the autoscaler as well.

One process keeps well ahead of a proxy, and checks every byte of what it is sent. Its first line says its port.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import cast

from perf.content import BLOCK, EVENT_BYTES, Content, body_for, response_to

_length = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE).search
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_GOLDEN = 0.618034
_streams = count()
_assigned = count(1)
MARK = b"100000000"
"""Where it stands in the assignment, each request has an index of its own."""


@cache
def read(path: Path) -> bytes:
    """A file that is complete when it is first asked for."""
    return path.read_bytes()


class Served(asyncio.Protocol):
    """A connection of a proxy's, which carries one request after the other."""

    def __init__(self, pem: bytes, assignment: Path) -> None:
        self._pem = pem
        self._assignment = assignment
        self._start = b""
        self._path = ""
        self._at = self._left = self._blocks = 0
        self._right = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._blocks = 0
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._path:
            data = self._start + data
            end = data.find(b"\r\n\r\n") + 4
            self._start = data if end == 3 else b""
            if end == 3:
                return
            length = _length(data, 0, end)
            self._path = data.split(b" ", 2)[1].partition(b"?")[0].decode()
            self._at, self._left, self._right = 0, int(length[1]) if length else 0, True
            data = data[end:]
        expected = body_for(self._path)
        if expected is not None and data:
            self._right = self._right and expected.matches(self._at, data)
        self._at += len(data)
        self._left -= len(data)
        if self._left <= 0:
            path, self._path = self._path, ""
            self._answer(path, response_to(path))

    def _answer(self, path: str, response: Content) -> None:
        write = self._transport.write
        if not self._right or self._left:
            write(_HEAD % (b"500 Wrong Body", 2) + b"{}")
        elif path == "/pubkey/":
            write(_HEAD % (b"200 OK", len(self._pem)) + self._pem)
        elif path == "/route/":
            said = read(self._assignment).replace(MARK, b"%d" % next(_assigned), 1)
            write(_HEAD % (b"200 OK", len(said)) + said)
        elif response.every:
            loop = asyncio.get_running_loop()
            # Streams that begin together do not go on in step: their second pieces are spread over the interval.
            begun = loop.time() - response.every * (next(_streams) * _GOLDEN % 1)
            self._event(loop, response, 0, begun, _STREAM)
        else:
            write(_HEAD % (b"200 OK", response.size))
            self._blocks = response.size
            self._send_blocks(response.unit)

    def _event(
        self, loop: asyncio.AbstractEventLoop, response: Content, number: int, due: float, head: bytes = b""
    ) -> None:
        at = number * EVENT_BYTES
        end = b"\r\n" if number + 1 < response.pieces else b"\r\n0\r\n\r\n"
        self._transport.write(head + b"%x\r\n" % EVENT_BYTES + response.unit[at : at + EVENT_BYTES] + end)
        if number + 1 < response.pieces:
            due += response.every
            self._timer = loop.call_at(due, self._event, loop, response, number + 1, due)

    def _send_blocks(self, unit: bytes) -> None:
        self._room = True
        while self._blocks and self._room:
            size = min(self._blocks, len(unit))
            self._blocks -= size
            self._transport.write(unit[:size])

    def pause_writing(self) -> None:
        self._room = False

    def resume_writing(self) -> None:
        self._send_blocks(BLOCK)


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line: the `key` in PEM as bytes, and the path of the `assignment`. Exits with what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m perf.backend",
        description="The server behind the measured proxies, which is the autoscaler too.",
    )
    parser.add_argument("key", type=Path, metavar="KEY.pem", help="the key that the autoscaler signs with")
    parser.add_argument("assignment", type=Path, metavar="ASSIGNMENT.json", help="may be written later")
    chosen = parser.parse_args(argv)
    try:
        chosen.key = chosen.key.read_bytes()
    except OSError as error:
        parser.error(f"{chosen.key}: {error.strerror}")
    return chosen


async def main(pem: bytes, assignment: Path) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Served(pem, assignment), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    chosen = options()
    asyncio.run(main(chosen.key, chosen.assignment))
