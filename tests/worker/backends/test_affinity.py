"""Which requests are counted as having the value of affinity, and which as having none."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, post, status
from vespa.protocol.affinity_key import AffinityKey
from vespa.transport.origin import Origin

ANN = post(b'{"user": "ann"}')
NOBODY = post(b'{"usr": "ann"}')
CHUNKED = b"POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n"
"""A request whose body, of 15 bytes, comes later."""


class AffinityTests(SynchronousTestCase):
    def rig(self, key: str = "json:user", count: int = 2, **more: Any) -> Rig:
        origins = [Origin("http", "10.0.0.1", 8000 + each) for each in range(count)]
        rig = Rig(several=origins, affinity=AffinityKey.parse(key), **more)
        assert rig.backends is not None and rig.backends.affinity is not None
        self.several, self.affinity = rig.backends, rig.backends.affinity
        return rig

    def counts(self) -> tuple[int, int]:
        return self.affinity.found, self.affinity.missing

    def test_member(self) -> None:
        """A request has the value if its body has the member; without a body, or with another one, it has none."""
        rig = self.rig()
        for asked in (ANN, ANN, NOBODY, GET, post(b"no JSON")):
            rig.ask(asked)
        self.assertEqual(self.counts(), (2, 3))

    def test_field(self) -> None:
        """The same by a field of the head."""
        rig = self.rig("header:X-User")
        for lines in (b"x-user: ann\r\n", b"X-User:\r\n", b"", b"X-User: bob\r\n"):
            rig.ask(post(b"", extra=lines))
        self.assertEqual(self.counts(), (2, 2))

    def test_body_in_pieces(self) -> None:
        """A body that is there as a whole when the backend is chosen is read, however it came."""
        rig = self.rig()
        rig.ask(CHUNKED + b'{"user": "ann"}' + b"\r\n0\r\n\r\n")
        self.assertEqual(self.counts(), (1, 0))

    def test_queued(self) -> None:
        """A request that waits for a slot counts once, when it comes."""
        rig = self.rig(concurrency=1)
        for _ in range(3):
            rig.ask(ANN)
        self.assertEqual((self.counts(), rig.gate.waiting), ((3, 0), 1))
        for way in rig.ways:
            way.wire.send(OK)
        self.assertEqual((self.counts(), rig.gate.waiting), ((3, 0), 0))

    def test_moved(self) -> None:
        """A request that moves to another backend counts once, whether it was sent before or not."""
        for asked, expected in ((ANN, (2, 0)), (NOBODY, (0, 2))):
            rig = self.rig(count=3)
            for way in rig.ways:
                way.refusing = True
            client = rig.ask(asked)
            for way in rig.ways:
                way.refusing = False
            rig.clock.advance(0)
            self.assertEqual(sum(each.moved for each in self.several.all), 1)
            (wire,) = [wire for way in rig.ways for wire in way.open]
            wire.lose(ConnectionDone())
            rig.clock.advance(0)
            (wire,) = [wire for way in rig.ways for wire in way.open]
            wire.send(OK)
            self.assertEqual(status(client.read()), 200)
            rig.ask(asked)
            self.assertEqual(self.counts(), expected)
