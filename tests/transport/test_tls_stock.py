"""TLS to workers by Twisted's own: the same servers are let in, and refused in the same words."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint

from tests.transport import test_tls_connect as connecting
from tests.transport.tls_peer import reactor, until
from vespa.runtime.trust import trust_roots
from vespa.transport.tls_stock import StockTLSEndpoint


class _Stock:
    port: int
    certificate: str

    def endpoint(self, seconds: float = 5.0, root: str = "") -> Any:
        trust = trust_roots(root or self.certificate)
        way = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port, timeout=seconds)
        return StockTLSEndpoint(reactor, way, "127.0.0.1", self.port, seconds, trust)


class Refusing(_Stock, connecting.Refusing):
    """There is a connection to the server that was meant, or none."""

    RESET = "the server closed the connection"  # Twisted does not tell one from the other


class Responses(_Stock, connecting.Responses):
    """Whether a response is complete depends on how its connection ends."""

    async def test_no_response(self) -> None:
        """What Twisted's TLS does not tell is taken for the worse: the server may have read the request."""
        for how in "notify", "close", "reset":
            peer, receiver = await self.ask(used=True)
            self.end(peer, how)
            await until(lambda receiver=receiver: receiver.over)
            assert receiver.error is not None
            self.assertEqual((receiver.error.code, receiver.error.silent), ("no_reply", True))
            self.assertFalse(receiver.error.unread)
