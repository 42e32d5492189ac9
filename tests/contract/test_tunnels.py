"""Upgrade: asked for, granted or not, and then bytes both ways until an end has had enough (RFC 9110 section 7.8)."""

from __future__ import annotations

from .cases import lines
from .driver import PROBE
from .peers import Script, backend_has, client_has, close, half_close, half_closed, reset, respond
from .response_cases import head
from .test_connections import ConnectionTests

ASK = lines(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
GRANT = head(b"Connection: Upgrade", b"Upgrade: websocket", b"X-Own: 1", start=b"HTTP/1.1 101 Switching Protocols")


class Tunnels(ConnectionTests):
    """A connection that both ends have agreed to use for something else."""

    async def test_granted(self) -> None:
        """The backend is asked in the client's words, and its 101 reaches the client with what it says of itself."""
        await self.set_up_backend(Script((GRANT,)))
        self.client.transport.write(ASK)
        await self.client.changes.until(lambda: self.client.responses, "a response")
        (arrival,) = self.backend.arrivals
        self.assertEqual(arrival.request.tokens(b"connection"), [b"upgrade"])
        self.assertEqual(arrival.request.values(b"upgrade"), [b"websocket"])
        self.assertEqual(arrival.request.values(b"sec-websocket-key"), [b"dGhlIHNhbXBsZSBub25jZQ=="])
        response = self.client.responses[0]
        self.assertEqual((response.status, response.values(b"x-own")), (101, [b"1"]))
        self.assertIn(b"upgrade", response.tokens(b"connection"))
        self.assertEqual(response.values(b"upgrade"), [b"websocket"])

    async def test_both_ways(self) -> None:
        """Bytes go both ways as they are, also those that look like HTTP, and those that come with the 101."""
        await self.set_up_backend(Script((GRANT + b"with it\r\n\r\n", backend_has(b"/smuggled"), b"\x00\xffbye")))
        assert self.backend.parties is not None
        steps = (ASK, client_has(b"with it\r\n\r\n"), b"GET /smuggled HTTP/1.1\r\n\r\n", client_has(b"\x00\xffbye"))
        await self.client.run_steps(steps, self.backend.parties)
        self.assertEqual(bytes(self.client.responses[0].body), b"with it\r\n\r\n\x00\xffbye")
        received = bytes(self.backend.connections[0].received)
        self.assertTrue(received.endswith(b"\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"), received)

    async def test_sent_with_the_request(self) -> None:
        """What the client sends before the response waits for it, and is the first of the tunnel."""
        await self.set_up_backend(Script((GRANT, backend_has(b"early"), b"got it")))
        assert self.backend.parties is not None
        await self.client.run_steps((ASK + b"early", client_has(b"got it")), self.backend.parties)

    async def test_not_granted(self) -> None:
        """A backend that answers as ever ends the matter, and the connection goes on."""
        await self.set_up_backend(Script((respond(b"no"),)))
        self.assertEqual(await self.ask(ASK), 200)
        self.assertEqual(await self.ask(PROBE), 200)

    async def test_backend_closes(self) -> None:
        """When the backend ends the tunnel the client has all it said, and a clean end."""
        await self.set_up_backend(Script((GRANT, b"last words", close)))
        self.client.transport.write(ASK)
        await self.client.gone()
        self.assertTrue(bytes(self.client.received).endswith(b"last words"))
        self.assertFalse(self.client.aborted)

    async def test_client_closes(self) -> None:
        """When the client ends the tunnel the backend has all it said, and an end."""
        await self.set_up_backend(Script((GRANT, half_closed, close)))
        assert self.backend.parties is not None
        await self.client.run_steps((ASK, client_has(b"\r\n\r\n"), b"last words", close), self.backend.parties)
        (connection,) = self.backend.connections
        await self.backend_lost(connection)
        self.assertTrue(bytes(connection.received).endswith(b"last words"))

    async def test_client_resets(self) -> None:
        """A client that is cut off takes the tunnel with it: what the backend then says finds nobody."""
        await self.set_up_backend(Script((GRANT, b"hello", half_closed, b"is", b"anybody", b"there")))
        assert self.backend.parties is not None
        await self.client.run_steps((ASK, client_has(b"hello"), reset), self.backend.parties)
        await self.backend_lost(self.backend.connections[0])

    async def test_client_leaves_before_the_response(self) -> None:
        """So does one that does not wait for the response."""
        await self.set_up_backend(Script(()))
        assert self.backend.parties is not None
        await self.client.run_steps((ASK, backend_has(b"\r\n\r\n"), reset), self.backend.parties)
        await self.backend_lost(self.backend.connections[0])

    async def test_backend_resets(self) -> None:
        """A backend that is cut off takes the tunnel with it."""
        await self.set_up_backend(Script((GRANT, b"hello", client_has(b"hello"), reset)))
        self.client.transport.write(ASK)
        await self.client.gone()

    async def test_half_close(self) -> None:
        """A client may end its side and still hear the backend out."""
        await self.set_up_backend(Script((GRANT, half_closed, b"heard you", close)))
        assert self.backend.parties is not None
        steps = (ASK, client_has(b"\r\n\r\n"), b"over", half_close)
        await self.client.run_steps(steps, self.backend.parties)
        await self.client.gone()
        self.assertTrue(bytes(self.client.received).endswith(b"heard you"), self.client.received)
