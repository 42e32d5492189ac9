from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, GET, Rig
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponseReader
from vespa.worker.response_readers import ReaderOf, Readers, combined


class Notes:
    """A reader that notes what it is told."""

    def __init__(self, keeps: bool = False) -> None:
        self.keeps = keeps
        self.told: list[Any] = []

    def read(self, data: bytes) -> None:
        self.told.append(data)

    def end(self) -> bool:
        self.told.append("end")
        return self.keeps

    def lost(self) -> None:
        self.told.append("lost")


def always(reader: ResponseReader | None) -> ReaderOf:
    """A part that reads every response with this reader."""

    def part(exchange: Exchange, head: ResponseHead, length: int) -> ResponseReader | None:
        return reader

    return part


class ReadingTests(SynchronousTestCase):
    def found(self, *parts: ReaderOf | None) -> ResponseReader | None:
        made = combined(*parts)
        rig = Rig(response_reader=made)
        rig.ask(GET)
        exchange = next(iter(rig.server.connections)).handler
        assert made is not None and isinstance(exchange, Exchange)
        return made(exchange, ResponseHead(), -1)

    def test_nobody(self) -> None:
        """Without parts that read there is nothing to call."""
        self.assertIsNone(combined())
        self.assertIsNone(combined(None, None))

    def test_one(self) -> None:
        """One part, and one that wants to read this response, are asked directly."""
        notes = Notes()
        part = always(notes)
        self.assertIs(combined(None, part), part)
        self.assertIs(self.found(always(None), part), notes)
        self.assertIsNone(self.found(always(None), always(None)))

    def test_several(self) -> None:
        """Each is told everything, whatever the others say."""
        for keeps in ((False, False), (True, False), (False, True), (True, True)):
            with self.subTest(keeps):
                notes = [Notes(each) for each in keeps]
                readers = self.found(*map(always, notes))
                assert isinstance(readers, Readers)
                readers.read(b"a")
                readers.lost()
                self.assertEqual(readers.end(), any(keeps))
                self.assertEqual([each.told for each in notes], [[b"a", "lost", "end"]] * 2)

    def test_in_an_exchange(self) -> None:
        """A response that two parts read passes as it came."""
        notes = [Notes(), Notes()]
        rig = Rig(response_reader=combined(*map(always, notes)))
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
        self.assertEqual(client.value(), CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
        self.assertEqual([each.told for each in notes], [[b"2\r\nok\r\n0\r\n\r\n", "end"]] * 2)
