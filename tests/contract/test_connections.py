"""What takes more than one request to see: connections that go stale, retries, and clients that hang up."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from . import subject
from .cases import lines
from .driver import PROBE
from .peers import (
    Backend,
    BackendConnection,
    Client,
    Parties,
    Script,
    Step,
    backend_has,
    client_has,
    close,
    connect,
    reset,
    respond,
)
from .reader import Asked
from .response_cases import head
from .waiting import turns

GET = lines()
POST = lines(b"Content-Length: 5", start=b"POST /x HTTP/1.1") + b"hello"
CHUNKED = b"Transfer-Encoding: chunked"


class ConnectionTests(TestCase):
    """A proxy before a scripted backend, and clients as they are needed."""

    skip = subject.missing()
    timeout = 60

    async def set_up_backend(self, *scripts: Script, **limits: int) -> None:
        self.backend = await Backend.start(self)
        self.backend.scripts.extend(scripts)
        self.port = await subject.start(self, self.backend.port, **limits)
        self.client = await self.enter()

    async def enter(self, *asked: Asked) -> Client:
        """A new client; scripts wait for what the newest one receives."""
        client = await connect(self, self.port, list(asked))
        self.backend.parties = Parties(client, self.backend)
        return client

    async def ask(self, *steps: Step) -> int:
        """Send a request on the client's connection; gives the status of its response."""
        count = len(self.client.responses) + 1
        assert self.backend.parties is not None
        await self.client.run_steps(steps, self.backend.parties)
        await self.client.answered(count)
        self.assertIs(self.client.feed.error, None)
        return self.client.responses[count - 1].status

    async def backend_lost(self, connection: BackendConnection) -> None:
        await connection.changes.until(lambda: connection.lost is not None, "the backend's connection to end")

    def targets(self) -> list[bytes]:
        return [arrival.request.target for arrival in self.backend.arrivals]


DEFAULT = Script((respond(),))


class Reuse(ConnectionTests):
    """Connections to the backend are kept and used again; one that went stale does no harm (RFC 9112 section 9.3)."""

    async def test_kept_and_used_again(self) -> None:
        """One client's requests one after another take one connection to the backend."""
        await self.set_up_backend()
        for _ in range(5):
            self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(len(self.backend.connections), 1)

    async def test_kept_across_clients(self) -> None:
        """A connection to the backend outlives its client."""
        await self.set_up_backend()
        await self.ask(GET)
        self.client.transport.loseConnection()
        await self.client.gone()
        self.client = await self.enter()
        self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(len(self.backend.connections), 1)

    async def test_two_at_once(self) -> None:
        """Two requests in flight take two connections; nothing is pipelined to the backend."""
        await self.set_up_backend(Script((backend_has(b"/second"), respond(b"one"))), Script((respond(b"two"),)))
        parties = self.backend.parties
        assert parties is not None
        other = await connect(self, self.port)
        await self.client.run_steps((GET, backend_has(b"/x")), parties)
        other.transport.write(lines(start=b"GET /second HTTP/1.1"))
        await other.answered(1)
        await self.client.answered(1)
        self.assertEqual(bytes(self.client.responses[0].body), b"one")
        self.assertEqual(bytes(other.responses[0].body), b"two")
        self.assertEqual(len(self.backend.connections), 2)

    async def test_closed_while_idle(self) -> None:
        """A connection that the backend closed after its response is not used again, whatever the method."""
        await self.set_up_backend(Script((respond(), close)), DEFAULT)
        self.assertEqual(await self.ask(GET), 200)
        await self.backend_lost(self.backend.connections[0])
        self.assertEqual(await self.ask(POST), 200)
        self.assertEqual(len(self.backend.connections), 2)

    async def test_reset_while_idle(self) -> None:
        """A connection that the backend reset after its response is not used again."""
        await self.set_up_backend(Script((respond(), client_has(b"seen"), reset)), DEFAULT)
        self.assertEqual(await self.ask(GET), 200)
        await self.backend_lost(self.backend.connections[0])
        self.assertEqual(await self.ask(POST), 200)
        self.assertEqual(len(self.backend.connections), 2)

    async def test_unasked_response_while_idle(self) -> None:
        """A response that nobody asked for is dropped with its connection; the next request gets its own."""
        await self.set_up_backend(Script((respond(b"mine"), client_has(b"mine"), respond(b"poison"))))
        self.assertEqual(await self.ask(GET), 200)
        await self.backend_lost(self.backend.connections[0])
        self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(bytes(self.client.responses[1].body), b"seen")

    async def test_unasked_bytes_while_idle(self) -> None:
        """Even a stray line end spoils an idle connection, or does no harm."""
        await self.set_up_backend(Script((respond(b"mine"), client_has(b"mine"), b"\r\n")))
        self.assertEqual(await self.ask(GET), 200)
        await self.backend.scripts_over()
        self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(bytes(self.client.responses[1].body), b"seen")

    async def test_upload_cut_short_is_not_followed(self) -> None:
        """After an early response the rest of the upload never becomes another request at the backend."""
        await self.set_up_backend(Script((respond(b"enough"),), at="head"))
        upload = lines(b"Content-Length: 200000", start=b"POST /x HTTP/1.1") + b"u" * 1000
        self.assertEqual(await self.ask(upload), 200)
        self.client.transport.write(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        self.client = await self.enter()
        self.assertEqual(await self.ask(PROBE), 200)
        self.assertNotIn(b"/smuggled", self.targets())
        self.assertEqual(self.targets()[-1], b"/probe")


class Retries(ConnectionTests):
    """A request is sent a second time only where that cannot do anything twice (RFC 9110 section 9.2.2)."""

    async def test_stale_connection(self) -> None:
        """A GET that meets a connection being closed is sent once more, on a fresh one."""
        await self.set_up_backend(DEFAULT, Script((close,)), DEFAULT)
        self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(len(self.backend.connections), 2)
        self.assertEqual(len(self.backend.arrivals), 3)

    async def test_stale_connection_reset(self) -> None:
        """So is one that meets a connection being reset."""
        await self.set_up_backend(DEFAULT, Script((reset,)), DEFAULT)
        await self.ask(GET)
        self.assertEqual(await self.ask(GET), 200)
        self.assertEqual(len(self.backend.arrivals), 3)

    async def test_only_once(self) -> None:
        """A second failure is told to the client."""
        await self.set_up_backend(DEFAULT, Script((close,)), Script((close,)), DEFAULT)
        await self.ask(GET)
        self.assertEqual(await self.ask(GET), 502)
        self.assertEqual(len(self.backend.arrivals), 3)

    async def test_fresh_connection(self) -> None:
        """What fails on a fresh connection is not sent again."""
        await self.set_up_backend(Script((close,)), DEFAULT)
        self.assertEqual(await self.ask(GET), 502)
        self.assertEqual(len(self.backend.arrivals), 1)

    async def test_begun_response(self) -> None:
        """What was answered in part is not sent again."""
        await self.set_up_backend(DEFAULT, Script((b"HTTP/1.1 200 O", close)), DEFAULT)
        await self.ask(GET)
        self.assertEqual(await self.ask(GET), 502)
        self.assertEqual(len(self.backend.arrivals), 2)

    async def test_post(self) -> None:
        """A POST that the backend has received is never sent again: it may have been done."""
        await self.set_up_backend(DEFAULT, Script((close,)), DEFAULT)
        await self.ask(GET)
        self.assertEqual(await self.ask(POST), 502)
        self.assertEqual(len(self.backend.arrivals), 2)

    async def test_post_without_a_body(self) -> None:
        """Nor is one without a body."""
        await self.set_up_backend(DEFAULT, Script((close,)), DEFAULT)
        await self.ask(GET)
        self.assertEqual(await self.ask(lines(b"Content-Length: 0", start=b"POST /x HTTP/1.1")), 502)
        self.assertEqual(len(self.backend.arrivals), 2)

    async def test_upload_half_sent(self) -> None:
        """A body that was half sent is not sent again, and the client hears of it."""
        await self.set_up_backend(DEFAULT, Script((close,), at="head"), DEFAULT)
        await self.ask(GET)
        self.client.asked.append((b"PUT", 1))
        upload = lines(b"Content-Length: 200000", start=b"PUT /x HTTP/1.1") + b"u" * 100000
        self.assertEqual(await self.ask(upload), 502)
        self.assertEqual(len(self.backend.arrivals), 2)


CHUNK = b"5\r\nhello\r\n"
EVENTS = head(b"Content-Type: text/event-stream", CHUNKED) + CHUNK
DELETE = b"DELETE /x HTTP/1.1"


class HangUps(ConnectionTests):
    """A client that hangs up is noticed in every phase, and the backend's work on its request ends."""

    async def hang_up(self, script: Script, *steps: Step, cut: bool = True) -> None:
        """Play the steps, leave, and see the backend's connection go."""
        await self.set_up_backend(script)
        assert self.backend.parties is not None
        await self.client.run_steps(steps, self.backend.parties)
        (connection,) = self.backend.connections
        if cut:
            self.client.transport.abortConnection()
        else:
            self.client.transport.loseConnection()
        await self.backend_lost(connection)
        await self.client.gone()
        self.client = await self.enter()
        self.assertEqual(await self.ask(PROBE), 200)

    async def test_before_the_response(self) -> None:
        """A reset while the backend thinks reaches the backend."""
        await self.hang_up(Script(()), GET, backend_has(b"\r\n\r\n"))

    async def test_closing_before_the_response(self) -> None:
        """So does an ordinary close."""
        await self.hang_up(Script(()), GET, backend_has(b"\r\n\r\n"), cut=False)

    async def test_after_the_head(self) -> None:
        """A reset between the response's head and its body reaches the backend."""
        await self.hang_up(Script((head(CHUNKED),)), GET, client_has(b"\r\n\r\n"))

    async def test_in_a_stream(self) -> None:
        """A reset in a stream reaches the backend, though it sends nothing more."""
        await self.hang_up(Script((EVENTS,)), GET, client_has(b"hello"))

    async def test_closing_in_a_stream(self) -> None:
        """So does an ordinary close."""
        await self.hang_up(Script((EVENTS,)), GET, client_has(b"hello"), cut=False)

    async def test_in_an_upload(self) -> None:
        """A reset in an upload reaches the backend, which gets no end of the body."""
        upload = lines(b"Content-Length: 100", start=DELETE) + b"begun"
        await self.hang_up(Script(()), upload, backend_has(b"begun"))
        self.assertEqual([a.request.complete for a in self.backend.arrivals[:1]], [False])

    async def test_in_chunks(self) -> None:
        """A reset in a chunked upload reaches the backend, which gets no last chunk."""
        upload = lines(CHUNKED, start=DELETE) + CHUNK
        await self.hang_up(Script(()), upload, backend_has(b"hello"))
        self.assertEqual([a.request.complete for a in self.backend.arrivals[:1]], [False])

    async def test_with_more_pipelined(self) -> None:
        """What was pipelined behind a request whose client has left is never begun."""
        await self.hang_up(Script(()), GET + lines(start=b"GET /behind HTTP/1.1"), backend_has(b"/x"))
        self.assertNotIn(b"/behind", self.targets())


class Limits(ConnectionTests):
    """Bounds that a setting moves."""

    async def test_head_limit(self) -> None:
        """A head of as many bytes as the limit is served, one byte more is 431."""
        for size, status in ((2000, 200), (2001, 431)):
            await self.set_up_backend(head_limit=2000)
            bare = len(lines(b"X-Fill: "))
            self.assertEqual(await self.ask(lines(b"X-Fill: " + b"f" * (size - bare))), status)

    async def test_head_limit_in_pieces(self) -> None:
        """The limit is the same when the head comes in pieces and has no end."""
        await self.set_up_backend(head_limit=2000)
        self.assertEqual(await self.ask(b"GET /x HTTP/1.1\r\nX-Fill: ", b"f" * 1200, b"f" * 1200), 431)

    async def test_response_head_limit(self) -> None:
        """A response's head has a limit of its own."""
        await self.set_up_backend(Script((respond(head=b"X-Fill: " + b"f" * 3000 + b"\r\n"),)), backend_head_limit=2000)
        self.assertEqual(await self.ask(GET), 502)

    async def test_pipelines_too_far(self) -> None:
        """A client that sends ahead more than the limit is cut, and so is its request; what it sent is never begun."""
        await self.set_up_backend(Script(()), pipeline_limit=5000)
        assert self.backend.parties is not None
        await self.client.run_steps(
            (GET, backend_has(b"/x"), *(lines(start=b"GET /ahead HTTP/1.1"),) * 200), self.backend.parties
        )
        await self.client.gone()
        await self.backend_lost(self.backend.connections[0])
        self.assertEqual(self.targets(), [b"/x"])

    async def test_connections(self) -> None:
        """Past the limit of connections a client is told so and let go where none is idle; else the idle one is."""
        await self.set_up_backend(Script(()), inbound_limit=1)
        assert self.backend.parties is not None
        await self.client.run_steps((GET, backend_has(b"/x")), self.backend.parties)
        first, self.client = self.client, await self.enter()
        await self.client.gone()
        self.assertEqual(self.client.responses[0].status, 503)
        first.transport.loseConnection()
        await first.gone()
        await turns(4)
        second = self.client = await self.enter()
        self.assertEqual(await self.ask(GET), 200)
        self.client = await self.enter()
        await second.gone()
        self.assertEqual(await self.ask(GET), 200)
