"""The stream of the status, in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.rig import AdminRig, request
from tests.rig import Wire, fields, status
from vespa.observability.event_stream import MISSED_MAX, STREAMS_MAX

HEAD_END = b"\r\n\r\n"


def events(data: bytes) -> list[Any]:
    """The documents of the events in bytes of a chunked body."""
    return [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]


class StreamTests(SynchronousTestCase):
    def follow(self, rig: AdminRig) -> Wire:
        wire = rig.client()
        wire.send(request("/events", "Accept: text/event-stream"))
        return wire

    def test_once_a_second(self) -> None:
        """The status comes at once, and then once a second."""
        rig = AdminRig()
        wire = self.follow(rig)
        first = wire.read()
        self.assertEqual((status(first), fields(first, b"content-type")), (200, [b"text/event-stream"]))
        self.assertIn(b"event: status\n", first)
        self.assertEqual([each["made"] for each in events(first)], [1])
        for second in range(2, 5):
            rig.clock.advance(1)
            self.assertEqual([each["made"] for each in events(wire.read())], [second])

    def test_made_once_for_all(self) -> None:
        """However many look, the status is made once a second; and not at all when nobody looks."""
        rig = AdminRig()
        wires = [self.follow(rig) for _ in range(3)]
        made = rig.made
        rig.clock.advance(1)
        self.assertEqual(rig.made, made + 1)
        for wire in wires:
            wire.hang_up()
        self.assertEqual(len(rig.routes.streams), 0)
        rig.clock.pump([1] * 5)
        self.assertEqual(rig.made, made + 1)
        self.follow(rig)
        rig.clock.advance(1)
        self.assertEqual(rig.made, made + 3)

    def test_bounded(self) -> None:
        """There is a number of streams beyond which a further one gets 503, until one has left."""
        rig = AdminRig()
        wires = [self.follow(rig) for _ in range(STREAMS_MAX)]
        refused = self.follow(rig).read()
        self.assertEqual((status(refused), fields(refused, b"x-vespa-error")), (503, [b"too_many_streams"]))
        self.assertEqual(fields(refused, b"retry-after"), [b"1"])
        wires[0].hang_up()
        self.assertEqual(status(self.follow(rig).read()), 200)

    def test_slow_reader(self) -> None:
        """A reader that is behind misses events, and goes on with the newest one."""
        rig = AdminRig()
        wire = self.follow(rig)
        wire.read()
        wire.fill()
        rig.clock.pump([1] * MISSED_MAX)
        self.assertEqual(wire.read(), b"")
        wire.drain()
        rig.clock.advance(1)
        self.assertEqual([each["made"] for each in events(wire.read())], [MISSED_MAX + 2])

    def test_stalled_reader(self) -> None:
        """A reader that does not catch up is dropped, and the others are not."""
        rig = AdminRig()
        slow, other = self.follow(rig), self.follow(rig)
        slow.fill()
        rig.clock.pump([1] * (MISSED_MAX + 1))
        self.assertTrue(slow.aborted)
        self.assertTrue(other.open)
        self.assertEqual(len(rig.routes.streams), 1)

    def test_full_at_once(self) -> None:
        """A reader that is behind from its first event on gets no second one."""
        rig = AdminRig()
        wire = rig.client()
        wire.room = 100
        wire.send(request("/events"))
        self.assertTrue(wire.full)
        wire.read()
        rig.clock.advance(1)
        self.assertEqual(wire.read(), b"")

    def test_head(self) -> None:
        """HEAD opens no stream."""
        rig = AdminRig()
        response = rig.ask("/events", method="HEAD")
        self.assertEqual(fields(response, b"content-type"), [b"text/event-stream"])
        self.assertEqual((len(rig.routes.streams), rig.made), (0, 0))

    def test_failures(self) -> None:
        """A status that fails is logged once, and the stream goes on with the next one."""
        rig = AdminRig()
        wire = self.follow(rig)
        wire.read()
        rig.fails = True
        rig.clock.pump([1] * 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        rig.fails = False
        rig.clock.advance(1)
        self.assertEqual(len(events(wire.read())), 1)

    def test_failure_at_first(self) -> None:
        """A stream whose first event fails is a failed request, and leaves nothing."""
        rig = AdminRig()
        rig.fails = True
        self.assertEqual(status(self.follow(rig).read()), 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(rig.routes.streams), 0)

    def test_close(self) -> None:
        """At the end each stream ends as a whole response."""
        rig = AdminRig()
        wires = [self.follow(rig) for _ in range(3)]
        drained = rig.server.drain()
        rig.routes.streams.close()
        rig.clock.advance(0)
        for wire in wires:
            self.assertTrue(wire.read().endswith(b"0\r\n\r\n"))
            self.assertFalse(wire.open)
        self.successResultOf(drained)
        rig.clock.advance(5)
        self.assertEqual(rig.made, 3)
