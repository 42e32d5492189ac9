"""The agent that treq rides on, over real sockets: what `IAgent` promises."""

from __future__ import annotations

import os
from io import BytesIO
from socket import socket
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import FileBodyProducer, ResponseFailed
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface.verify import verifyObject

from vespa.http.agent import Agent
from vespa.http.interfaces import UpstreamError


class Scripted(Protocol):
    """Keeps what it gets and, when a request is whole, answers with the next line of its script (None: hangs up)."""

    transport: Any

    def connectionMade(self) -> None:
        self.received = b""
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        size = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        if not end or len(body) < sum(size) or (b"chunked" in head and not body.endswith(b"0\r\n\r\n")):
            return
        self.factory.asked.append(self.received)
        self.received = b""
        answer = self.factory.script.pop(0)
        if answer is None:
            self.transport.loseConnection()
        else:
            self.transport.write(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.made.remove(self)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nok"


class Agents(TestCase):
    timeout = 20

    async def serve(self, *script: bytes | None) -> tuple[Agent, bytes, Any]:
        """An agent, the address of a server that plays this script, and the server's factory."""
        factory: Any = Factory.forProtocol(Scripted)
        factory.made, factory.asked, factory.script = [], [], list(script)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        clock: Any = reactor
        agent = Agent(clock)

        async def close() -> None:
            agent.close()
            while factory.made:
                for server in list(factory.made):
                    server.transport.loseConnection()
                await deferLater(reactor, 0)
            await deferLater(reactor, 0)

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        return agent, b"http://127.0.0.1:%d" % port.getHost().port, factory

    async def test_interfaces(self) -> None:
        """An agent is an IAgent, and what it fires with an IResponse."""
        agent, url, _ = await self.serve(OK)
        verifyObject(IAgent, agent)
        response = await agent.request(b"GET", url)
        verifyObject(IResponse, response)
        self.assertEqual(
            (response.code, response.length, response.headers.getRawHeaders(b"x-a")), (200, 2, [b"1", b"2"])
        )
        self.assertEqual(await treq.content(response), b"ok")

    async def test_kept_connection(self) -> None:
        """Requests one after the other share a connection; the target goes out byte for byte."""
        agent, url, factory = await self.serve(OK, OK)
        for target in (b"/a%2Fb?x=1&x=2", b"?only"):
            await treq.content(await agent.request(b"GET", url + target))
        self.assertEqual(len(factory.made), 1)
        self.assertTrue(factory.asked[0].startswith(b"GET /a%2Fb?x=1&x=2 HTTP/1.1\r\nHost: 127.0.0.1:"))
        self.assertTrue(factory.asked[1].startswith(b"GET /?only HTTP/1.1\r\n"))

    async def test_bodies(self) -> None:
        """A body of known length has one Content-Length, one of unknown length goes in chunks."""
        agent, url, factory = await self.serve(OK, OK)
        client = HTTPClient(agent)
        await treq.content(await client.post(url.decode(), json={"a": 1}))
        self.assertEqual(factory.asked[0].lower().count(b"content-length: "), 1)
        self.assertTrue(factory.asked[0].endswith(b'\r\n\r\n{"a":1}'))
        producer = FileBodyProducer(BytesIO(b"hello"))
        producer.length = UNKNOWN_LENGTH
        await treq.content(await agent.request(b"POST", url, bodyProducer=producer))
        self.assertTrue(factory.asked[1].endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))

    async def test_chunked_response(self) -> None:
        """A chunked response is delivered without its framing, also when asked for late."""
        agent, url, _ = await self.serve(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        response = await agent.request(b"GET", url)
        await deferLater(reactor, 0.01)
        self.assertEqual(await treq.content(response), b"abc")

    async def test_head(self) -> None:
        """The response to HEAD has a length and no body."""
        agent, url, _ = await self.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        response = await agent.request(b"HEAD", url)
        self.assertEqual((response.length, await treq.content(response)), (99, b""))

    async def test_broken_response(self) -> None:
        """A response that breaks off fails its body, one that never comes the request."""
        agent, url, factory = await self.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", None)
        response = await agent.request(b"GET", url)
        content = treq.content(response)
        factory.made[0].transport.loseConnection()
        await self.assertFailure(content, ResponseFailed)
        await self.assertFailure(agent.request(b"GET", url), UpstreamError)

    async def test_stale_connection(self) -> None:
        """A request that meets a kept connection being closed is sent once more on a fresh one."""
        agent, url, factory = await self.serve(OK, None, OK)
        await treq.content(await agent.request(b"GET", url))
        self.assertEqual((await agent.request(b"GET", url)).code, 200)
        self.assertEqual(len(factory.asked), 3)

    async def test_cancel(self) -> None:
        """A request that is cancelled cuts its connection."""
        agent, url, factory = await self.serve()
        asking = agent.request(b"GET", url + b"/" + b"x" * 10)
        factory.script.append(b"")
        while not factory.asked:
            await deferLater(reactor, 0)
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        while factory.made:
            await deferLater(reactor, 0)

    async def test_no_url(self) -> None:
        """A URL that is not http fails, and no connection is made."""
        agent, _, _ = await self.serve()
        for url in (b"ftp://host/", b"/path", b"http://a b/"):
            await self.assertFailure(agent.request(b"GET", url), ValueError)

    async def test_nobody_listens(self) -> None:
        """A connection counts as refused only if no server listens: on a port, by a name, on a unix socket."""
        with socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            for unix_socket, url in (
                ("", f"http://127.0.0.1:{port}/"),
                ("", f"http://localhost:{port}/"),
                (self.mktemp(), "http://localhost/"),
            ):
                agent = Agent(reactor, unix_socket=os.path.abspath(unix_socket) if unix_socket else "")
                error: Any = await self.assertFailure(agent.request(b"GET", url.encode()), UpstreamError)
                self.assertEqual((error.code, error.refused), ("server_unreachable", True), url)
        agent, url_of_another, _ = await self.serve(None)
        error = await self.assertFailure(agent.request(b"GET", url_of_another), UpstreamError)
        self.assertEqual((error.code, error.refused), ("no_reply", False))
