"""
The attributes of what lives on the path of each request.

CPython keeps up to 30 attributes of an instance in an array of a shared form. With more, it makes a dictionary for the
instance, and each access is slower. An attribute that is set for every stream counts as one that is set always.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, GET, OK, Rig, post

MOST = 30


class AttributeTests(SynchronousTestCase):
    def test_connections_and_exchanges(self) -> None:
        """After whole responses and streams none has more attributes than the array holds."""
        rig = Rig()
        client = rig.ask(GET)
        connection, upstream = client.protocol, rig.backend.wire.protocol
        exchanges = [connection.handler]
        rig.backend.wire.send(OK)
        client.send(post(b"x" * 100))
        exchanges.append(connection.handler)
        for part in (CHUNKED, b"2\r\nab\r\n", b"0\r\n\r\n"):
            rig.backend.wire.send(part)
        client.send(GET)
        exchanges.append(connection.handler)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        rig.backend.wire.send(b"cd")
        self.assertEqual((len(rig.backend.wires), rig.ledger.served), (1, 3))
        for each in (connection, upstream, *exchanges):
            self.assertLessEqual(len(vars(each)), MOST, sorted(vars(each)))

    def test_uploads(self) -> None:
        """An exchange whose body comes in parts stays below it too."""
        rig = Rig()
        asked = post(b"x" * 100)
        client = rig.ask(asked[:-50])
        exchange = client.protocol.handler
        client.send(asked[-50:])
        rig.backend.wire.send(OK)
        self.assertLessEqual(len(vars(exchange)), MOST, sorted(vars(exchange)))
