"""Clients, as many as are wanted, in one process: `python -m perf.load SPEC`, where SPEC is JSON for `Spec`.

It connects, prints `ready`, waits for a line, sends, checks every byte that comes back, and prints a `Result` as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import ssl
import sys
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from attrs import asdict, define, field, frozen

from perf.content import BLOCK, body_for, response_to

MARK = "100000000"
"""The first request's index; where it stands in a request, each one that is sent has an index of its own."""

READ_BYTES = 65536
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wrong(Exception):
    """The response was not what it should have been."""


@frozen
class Task:
    """A request up to a large body, what should come of it, and how patient the client is.

    `pause`: seconds before the response is read. `leave`: seconds after which the client hangs up, 0 for never.
    """

    path: str
    text: str
    pause: float = 0.0
    leave: float = 0.0
    status: int = 200


@frozen
class Spec:
    """What to do: each connection one task, or tasks at random for so many seconds. None may take `longest`."""

    port: int
    tls: bool
    connections: int
    tasks: list[Task]
    seconds: float = 0.0
    longest: float = 60.0


@define
class Result:
    """What came of it. `first`: milliseconds from each request to the first bytes of its response's content."""

    done: int = 0
    pieces: int = 0
    hang_ups: int = 0
    errors: list[str] = field(factory=list)
    first: list[float] = field(factory=list)

    def add(self, other: Result) -> None:
        """Count what another process has counted."""
        self.done += other.done
        self.pieces += other.pieces
        self.hang_ups += other.hang_ups
        self.errors += other.errors
        self.first += other.first


class Load:
    """The clients of this process."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.result = Result()
        self._numbers = count(int(MARK))
        self._random = random.Random(7)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    async def connect(self) -> Streams:
        """A new connection."""
        tls = self._tls if self.spec.tls else None
        return await asyncio.open_connection("127.0.0.1", self.spec.port, ssl=tls, limit=READ_BYTES)

    async def client(self, streams: Streams) -> None:
        """Do one task after the other until the time is over; after a hang-up over a new connection."""
        until = time.monotonic() + self.spec.seconds
        while True:
            task = self._random.choice(self.spec.tasks)
            try:
                await asyncio.wait_for(self._exchange(task, *streams), task.leave or self.spec.longest)
                self.result.done += 1
                again = task.status == 200
            except (OSError, EOFError, ValueError, Wrong, asyncio.TimeoutError) as error:
                again = False
                if task.leave and isinstance(error, asyncio.TimeoutError):
                    self.result.hang_ups += 1
                else:
                    self.result.errors.append(f"{task.path}: {error!r}")
            over = time.monotonic() >= until
            if over or not again:
                streams[1].transport.abort()
            if over:
                return
            if not again:
                streams = await self.connect()

    async def _exchange(self, task: Task, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = time.monotonic()
        writer.write(task.text.replace(MARK, str(next(self._numbers)), 1).encode())
        body = body_for(task.path)
        if body is not None and body.unit is BLOCK:
            for at in range(0, body.size, len(BLOCK)):
                writer.write(BLOCK[: body.size - at])
                await writer.drain()
        if task.pause:
            await asyncio.sleep(task.pause)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if int(head[9:12]) != task.status:
            raise Wrong(f"{head!r} {await reader.read(500)!r}")
        if task.status != 200:
            return
        response, at, size = response_to(task.path), 0, -1
        chunked = b"\r\ntransfer-encoding: chunked\r\n" in head
        if not chunked and b"\r\ncontent-length: %d\r\n" % response.size not in head:
            raise Wrong(f"{head!r}")
        while at < response.size or chunked and size:
            if chunked:
                size = int(await reader.readuntil(b"\r\n"), 16)
                data = (await reader.readexactly(size + 2))[:size]
            else:
                data = await reader.read(READ_BYTES)
            if not at:
                self.result.first.append((time.monotonic() - sent) * 1000)
            if not response.matches(at, data) or not data and at < response.size:
                raise Wrong(f"{len(data)} bytes after {at} of {response.size} are not those that were sent")
            at += len(data)
        self.result.pieces += response.pieces


async def main(spec: Spec) -> None:
    """Connect, wait for the word, and do it."""
    load = Load(spec)
    connected = [await load.connect() for _ in range(spec.connections)]
    print("ready", flush=True)
    if sys.stdin.readline():
        await asyncio.gather(*map(load.client, connected))
        print(json.dumps(asdict(load.result)), flush=True)


def spec_from(values: dict[str, Any]) -> Spec:
    """A `Spec` of what its JSON says."""
    return Spec(**{**values, "tasks": [Task(**task) for task in values["tasks"]]})


def options(argv: Sequence[str] | None = None) -> Spec:
    """The `Spec` of the command line. Exits with what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m perf.load", description=__doc__)
    parser.add_argument("spec", metavar="SPEC", help="JSON with the fields of perf.load.Spec")
    text = parser.parse_args(argv).spec
    try:
        return spec_from(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        parser.error(f"SPEC is no such JSON: {type(error).__name__}: {error}")


if __name__ == "__main__":
    asyncio.run(main(options()))
