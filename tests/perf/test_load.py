"""The harness's backend and load, face to face: what is right passes, and what is wrong does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from perf.backend import Served
from perf.content import BLOCK, QUESTION, Content, body_for, response_to
from perf.load import MARK, Load, Result, Spec, Task

BIG = 3 * len(BLOCK) + 17
PATHS = ("/v1/completions", "/stream/5/0.001", f"/big/{BIG}", f"/sink/{BIG}", "/health")


def question(path: str, body: bytes = b"") -> str:
    expected = body_for(path)
    length = len(body) or (expected.size if expected is not None else 0)
    return f"POST {path}?n={MARK} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body.decode()}"


def right(path: str) -> Task:
    return Task(path, question(path, QUESTION if path.startswith("/v1/") else b""))


def backend() -> asyncio.Protocol:
    return Served(b"key", Path("nowhere"))


def meet(tasks: list[Task], server: Callable[[], asyncio.Protocol] = backend, connections: int = 1) -> Result:
    """What comes of it when each of so many clients does one of the tasks at a server."""

    async def run() -> Result:
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        load = Load(Spec(listening.sockets[0].getsockname()[1], False, connections, tasks, longest=20.0))
        clients = [await load.connect() for _ in range(connections)]
        await asyncio.gather(*map(load.client, clients))
        listening.close()
        return load.result

    return asyncio.run(run())


class Liar(Served):
    """A backend of which one byte in the way is changed, or lost."""

    old, new = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        write = self._transport.write
        old, new = self.old, self.new

        class Changed:
            def write(self, data: bytes) -> None:
                write(data.replace(old, new, 1))

        self._transport = Changed()  # type: ignore[assignment]


def liar(old: bytes, new: bytes) -> Callable[[], Liar]:
    class Made(Liar):
        pass

    Made.old, Made.new = old, new
    return lambda: Made(b"key", Path("nowhere"))


class ContentTests(SynchronousTestCase):
    @given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
    def test_pieces(self, at: int, size: int, place: int) -> None:
        """A piece matches where it was cut, at every place and length, and not with any byte of it changed."""
        whole = Content(b"0123456", 40)
        piece = (b"0123456" * 6)[:40][at : at + size]
        self.assertTrue(whole.matches(at, piece))
        if place < len(piece):
            self.assertFalse(whole.matches(at, piece[:place] + b"x" + piece[place + 1 :]))

    def test_more_than_all(self) -> None:
        """What goes on after the end does not match."""
        self.assertFalse(Content(b"ab", 4).matches(2, b"aba"))

    def test_events(self) -> None:
        """No two events of a stream are the same."""
        stream = response_to("/stream/20/0.5")
        size = stream.size // stream.pieces
        events = {stream.unit[at : at + size] for at in range(0, stream.size, size)}
        self.assertEqual(len(events), 20)


class LoadTests(SynchronousTestCase):
    def test_right(self) -> None:
        """Every kind of request gets its response, over kept connections and many at once."""
        for path in PATHS:
            result = meet([right(path)], connections=3)
            self.assertEqual((result.done, result.hang_ups, result.errors), (3, 0, []), path)
            self.assertEqual(result.pieces, 3 * response_to(path).pieces, path)
            self.assertEqual(len(result.first), 3, path)

    def test_changed_response(self) -> None:
        """A byte that was changed, lost or added on the way is an error, whatever was asked for."""
        for path, old, new in (
            ("/v1/completions", b"choices", b"Choices"),
            ("/stream/5/0.001", b"00000003", b"00000002"),
            ("/stream/5/0.001", b"00000003", b"0000003x"),
            ("/stream/5/0.001", b"\r\n0\r\n\r\n", b"\r\nc8\r\n" + b"x" * 200 + b"\r\n0\r\n\r\n"),
            (f"/big/{BIG}", BLOCK[500:510], BLOCK[500:509] + bytes([BLOCK[509] ^ 1])),
            ("/health", b"Length: 2", b"Length: 3"),
        ):
            result = meet([right(path)], liar(old, new))
            self.assertEqual((result.done, len(result.errors)), (0, 1), (path, old))

    def test_changed_request(self) -> None:
        """The backend refuses a body that is not the one it knows."""
        wrong = Task("/v1/completions", question("/v1/completions", QUESTION.replace(b"prompt", b"Prompt")))
        self.assertEqual(len(meet([wrong]).errors), 1)
        self.assertEqual(meet([Task(wrong.path, wrong.text, status=500)]).errors, [])

    def test_hang_up(self) -> None:
        """A client that is to leave does, and that is no error."""
        path = "/stream/1000/0.01"
        result = meet([Task(path, question(path), leave=0.02)], connections=2)
        self.assertEqual((result.done, result.hang_ups, result.errors), (0, 2, []))

    def test_processes_add_up(self) -> None:
        """What several processes counted is one result."""
        total = Result(1, 2, 3, ["a"], [1.0])
        total.add(Result(10, 20, 30, ["b"], [2.0]))
        self.assertEqual(total, Result(11, 22, 33, ["a", "b"], [1.0, 2.0]))
