"""TLS on the descriptor, the client's end: which server is spoken to, over real sockets."""

from __future__ import annotations

import gc
import os
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionRefusedError, TimeoutError
from twisted.internet.protocol import Factory

from tests.http.takers import connect, take
from tests.transport import tls_laws as laws
from tests.transport.tls_peer import Peer, peer_server_context, reactor, until, write_certificate
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.runtime.trust import trust_roots
from vespa.transport.certificates import Certificate
from vespa.transport.errors import BadCertificate, NoTLS
from vespa.transport.listen import TLSEndpoint, listen_tcp
from vespa.transport.tls_connect import TLSConnectingEndpoint


def quiet(build: Callable[[], Any]) -> Factory:
    factory = Factory.forProtocol(build)
    factory.noisy = False
    return factory


def sockets() -> int:
    """How many this process has open."""
    links = (os.readlink(entry.path) for entry in list(os.scandir("/proc/self/fd")) if os.path.islink(entry.path))
    return sum(link.startswith("socket:") for link in links)


class Connected(laws.Ends):
    """A server of Python's `ssl`, and the way there."""

    def setUp(self) -> None:
        self.peers: list[Peer] = []
        self.made: list[Any] = []
        self.addCleanup(self.hang_up)
        self.certificate, self.key = write_certificate(self.mktemp())

    def listen(self, build: Callable[[], Any]) -> None:
        """Have a server there."""

        def made() -> Any:
            self.peers.append(build())
            return self.peers[-1]

        port: Any = listen_tcp(reactor, 0, quiet(made), "127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.way = self.endpoint()

    def endpoint(self, seconds: float = 5.0, root: str = "") -> TLSConnectingEndpoint:
        """The way to it."""
        trust = trust_roots(root or self.certificate)
        return TLSConnectingEndpoint(reactor, socket.AF_INET, ("127.0.0.1", self.port), seconds, trust)

    async def begin(self, build: Callable[[], Any] = laws.Ours) -> Any:
        """Our protocol, connected."""
        self.made.append(await self.way.connect(quiet(build)))
        return self.made[-1]

    async def hang_up(self) -> None:
        ends = [*self.made, *self.peers]
        for end in ends:
            if not end.reason:
                end.transport.abortConnection()
        await until(lambda: all(end.reason for end in ends))

    async def peer(
        self,
        build: Callable[[], laws.Ours] = laws.Ours,
        *,
        kind: type[Peer] = Peer,
        tls12: bool = False,
        trickle: bool = False,
    ) -> tuple[Peer, Any]:
        if not self.peers:
            context = peer_server_context(self.certificate, self.key, tls12=tls12)
            self.listen(lambda: kind(context, trickle=trickle))
        known = len(self.peers)
        ours = await self.begin(build)
        await until(lambda: len(self.peers) > known and self.peers[-1].ready)
        if not tls12:
            await until(lambda: self.way.session)  # what may disturb a test that looks at single reads
        return self.peers[-1], ours


class ClientsEnd(laws.Laws, Connected):
    """The laws of both ends, for the client's."""

    async def test_ends(self) -> None:
        """It tells both addresses, and shows the server's certificate."""
        peer, ours = await self.peer()
        self.assertEqual((ours.t.getPeer().host, ours.t.getPeer().port), ("127.0.0.1", self.port))
        self.assertEqual(ours.t.getHost(), peer.transport_.getPeer())
        self.assertIn("localhost", str(ours.t.getPeerCertificate().get_subject()))

    async def test_write_in_connection_made(self) -> None:
        """What is written in connectionMade comes first."""

        class Early(laws.Ours):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.write(b"one ")
                self.t.write(b"two ")
                self.write(memoryview(b"three"))

        peer, _ = await self.peer(Early)
        await until(lambda: peer.received == b"one two three")

    async def test_our_own_server(self) -> None:
        """A server of ours is a server like others."""
        served: list[Any] = []

        def made() -> Any:
            served.append(laws.Echo())
            return served[-1]

        contexts = Certificate(self.certificate, self.key)
        port: Any = await TLSEndpoint(reactor, 0, "127.0.0.1", 50, contexts).listen(quiet(made))
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.way = self.endpoint()
        ours = await self.begin()
        data = os.urandom(1 << 20)
        ours.write(data)
        await until(lambda: len(ours.received) == len(data))
        self.assertEqual(ours.received, data)
        ours.t.loseConnection()
        await until(lambda: ours.reason and served[0].reason)
        self.assertEqual((ours.lost, served[0].lost), (ConnectionDone, ConnectionDone))

    async def test_ipv6(self) -> None:
        """An IPv6 address is verified and spoken to as well."""
        self.certificate, self.key = write_certificate(self.mktemp(), address="::1")
        contexts = Certificate(self.certificate, self.key)
        port: Any = await TLSEndpoint(reactor, 0, "::1", 50, contexts).listen(quiet(laws.Echo))
        self.addCleanup(port.stopListening)
        trust = trust_roots(self.certificate)
        self.way = TLSConnectingEndpoint(reactor, socket.AF_INET6, ("::1", port.getHost().port), 5.0, trust)
        ours = await self.begin()
        ours.write(b"hello")
        await until(lambda: ours.received == b"hello")

    async def test_nothing_stays(self) -> None:
        """A hundred connections, ended in every way, leave no descriptor and no memory of OpenSSL's behind."""
        await self.peer()
        before = len(os.listdir("/proc/self/fd"))
        gone: list[weakref.ref[Any]] = []
        for n in range(100):
            peer, ours = await self.peer()
            gone.append(weakref.ref(ours.t.tls))
            end = (peer.transport_, ours.t)[n // 3 % 2]
            end.abortConnection() if n % 3 else end.loseConnection()
            await until(lambda peer=peer, ours=ours: peer.reason and ours.reason)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual([ref for ref in gone if ref()], [])

    async def test_freed_at_once(self) -> None:
        """A transport that used `reader` and `release` is freed without a collection."""
        peer, ours = await self.peer(laws.Tidy)
        gone = weakref.ref(ours.transport)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        peer.close_notify()
        peer.transport_.loseConnection()
        await until(lambda: ours.reason)
        await until(lambda: not gone())


class AtOnce(Connected):
    """A server that answers before our first call returns: on another processor it may."""

    async def test_handshake_within_a_call(self) -> None:
        """A handshake that never had to wait leaves a connection that reads."""
        context = peer_server_context(self.certificate, self.key)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.port = listener.getsockname()[1]

        class Waiting:
            """OpenSSL's connection, whose handshake waits for the other side."""

            def __init__(self, tls: Any) -> None:
                self.tls = tls

            def do_handshake(self) -> None:
                while True:
                    try:
                        self.tls.do_handshake()
                    except SSL.WantReadError:
                        if not select.select([self.tls], [], [], 5)[0]:
                            raise
                    else:
                        return

            def __getattr__(self, name: str) -> Any:
                return getattr(self.tls, name)

        class Way(TLSConnectingEndpoint):
            def begin(self, sock: Any) -> Any:
                return Waiting(super().begin(sock))

        heard: list[bytes] = []

        def serve() -> None:
            accepted, _ = listener.accept()
            accepted.settimeout(5)
            with context.wrap_socket(accepted, server_side=True) as tls:
                tls.sendall(b"hello")
                heard.append(tls.recv(100))

        server = threading.Thread(target=serve)
        server.start()
        self.addCleanup(server.join)
        self.way = Way(reactor, socket.AF_INET, ("127.0.0.1", self.port), 5.0, trust_roots(self.certificate))
        ours = await self.begin()
        await until(lambda: ours.received == b"hello")
        ours.write(b"there")
        await until(lambda: heard == [b"there"])


class Resuming(Connected):
    """Sessions are resumed."""

    async def test_resumption(self) -> None:
        """A second connection resumes the first one's session, under TLS 1.3 and 1.2; so does one after it."""
        for tls12 in False, True:
            self.peers.clear()
            resumed = []
            for _ in range(3):
                peer, ours = await self.peer(laws.Echo, tls12=tls12)
                peer.send(b"x")
                await until(lambda peer=peer: peer.received)
                resumed.append(peer.tls.session_reused)
                ours.t.loseConnection()
                await until(lambda ours=ours: ours.reason)
            self.assertEqual(resumed, [False, True, True])

    async def test_two_at_once(self) -> None:
        """One session serves connections that are made at the same time."""
        await self.peer()
        for each in [self.way.connect(quiet(laws.Ours)) for _ in range(5)]:
            self.made.append(await each)
        await until(lambda: len(self.peers) == 6 and all(peer.ready for peer in self.peers))
        self.assertEqual([peer.tls.session_reused for peer in self.peers], [False] + [True] * 5)

    async def test_forgotten(self) -> None:
        """If the server has forgotten the session, a full handshake is made and the server verified."""
        peer, ours = await self.peer()
        context = peer_server_context(self.certificate, self.key)
        old = self.way
        self.listen(lambda: Peer(context))
        old.address = ("127.0.0.1", self.port)
        self.way = old
        again, ours = await self.peer()
        self.assertFalse(again.tls.session_reused)
        other = write_certificate(self.mktemp())
        self.listen(lambda: Peer(peer_server_context(*other)))
        old.address = ("127.0.0.1", self.port)
        await self.assertFailure(old.connect(quiet(laws.Ours)), BadCertificate)
        self.assertIsNone(old.session)

    async def test_unverified(self) -> None:
        """A server that was refused has no session to come back to."""
        await self.peer()
        self.way = self.endpoint(root=write_certificate(self.mktemp())[0])
        for _ in range(2):
            await self.assertFailure(self.way.connect(quiet(laws.Ours)), BadCertificate)
            self.assertIsNone(self.way.session)


class Refusing(Connected):
    """There is a connection to the server that was meant, or none."""

    RESET = "the connection is lost (ECONNRESET)"

    async def refused(self, error: type[ConnectError], seconds: float = 5.0) -> str:
        """The text of what a connection to the server fails with; the protocol is never made."""
        built: list[Any] = []

        def build() -> Any:
            built.append(laws.Ours())
            return built[-1]

        before = sockets()
        raised: Any = await self.assertFailure(self.endpoint(seconds).connect(quiet(build)), error)
        await until(lambda: all(peer.reason for peer in self.peers))
        self.assertEqual(built, [])
        self.assertEqual(sockets(), before)
        return str(raised)

    async def test_other_address(self) -> None:
        """A certificate for another address is refused, though it leads to the root; a name is no address."""
        self.certificate, key = write_certificate(self.mktemp(), "127.0.0.1", address="127.0.0.2")
        self.listen(lambda: Peer(peer_server_context(self.certificate, key)))
        text = await self.refused(BadCertificate)
        self.assertIn(f"cannot be trusted: 127.0.0.1:{self.port}: it is not for this address", text)

    async def test_no_address(self) -> None:
        """A certificate with names only, or with none, is for no address."""
        for name, text in (("localhost", "it is not for this address"), ("", "it names no address")):
            self.certificate, key = write_certificate(self.mktemp(), name, address="")
            context = peer_server_context(self.certificate, key)
            self.listen(partial(Peer, context))
            self.assertIn(text, await self.refused(BadCertificate))

    async def test_other_root(self) -> None:
        """A certificate that no trusted root has signed is refused; the server gets an alert with the reason."""
        other = write_certificate(self.mktemp(), "other")
        self.listen(lambda: Peer(peer_server_context(*other)))
        self.assertIn("self-signed certificate", await self.refused(BadCertificate))
        self.assertIn("unknown ca", str(self.peers[0].error).lower())

    async def test_without_private_names(self) -> None:
        """The reason is OpenSSL's where pyOpenSSL keeps the names for it no more."""
        from vespa.transport import openssl

        self.patch(openssl, "_SSL", object())
        other = write_certificate(self.mktemp(), "other")
        self.listen(lambda: Peer(peer_server_context(*other)))
        self.assertIn("certificate verify failed", await self.refused(BadCertificate))

    async def test_no_tls(self) -> None:
        """The error distinguishes a server without TLS, a disconnect and a bad certificate."""

        class Plain(laws.Ours):
            def dataReceived(self, data: bytes) -> None:
                self.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                self.t.loseConnection()

        class Closes(laws.Ours):
            def dataReceived(self, data: bytes) -> None:
                self.t.loseConnection()

        class Resets(laws.Ours):
            def dataReceived(self, data: bytes) -> None:
                self.t.abortConnection()

        closed = "the server closed the connection"
        for build, text in ((Plain, "wrong version number"), (Closes, closed), (Resets, self.RESET)):
            self.listen(build)
            raised = await self.refused(NoTLS)
            self.assertIn(f"The two ends could not agree on TLS: 127.0.0.1:{self.port}: ", raised)
            self.assertIn(text, raised)

    async def test_old_versions(self) -> None:
        """TLS 1.1 is not spoken."""
        context = peer_server_context(self.certificate, self.key)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.listen(lambda: Peer(context))
        await self.refused(NoTLS)

    async def test_silent(self) -> None:
        """A server that accepts and says nothing is given up when the time for connecting is over."""
        self.listen(laws.Ours)
        await self.refused(TimeoutError, 0.05)

    async def test_cancelled(self) -> None:
        """An attempt may be cancelled during the handshake."""
        self.listen(laws.Ours)
        connecting = self.endpoint().connect(quiet(laws.Ours))
        await until(lambda: self.peers and self.peers[0].received)
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
        await until(lambda: self.peers[0].reason)

    async def test_nobody(self) -> None:
        """No server listens: the error is the kernel's."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
            await self.assertFailure(self.endpoint().connect(quiet(laws.Ours)), ConnectionRefusedError)

    async def test_no_name_is_sent(self) -> None:
        """An address is no server name (RFC 6066 3)."""
        context = peer_server_context(self.certificate, self.key)
        names: list[str | None] = []
        context.sni_callback = lambda tls, name, context: names.append(name)
        self.listen(lambda: Peer(context))
        await self.begin()
        self.assertEqual(names, [None])

    async def test_certificate_in_a_pool(self) -> None:
        """A pool's error for a bad certificate has a code of its own."""
        other = write_certificate(self.mktemp(), "other")
        self.listen(lambda: Peer(peer_server_context(*other)))
        pool = ConnectionPool(self.endpoint(), reactor, name="worker")
        error: Any = await self.assertFailure(connect(pool), UpstreamError)
        self.assertEqual((error.code, error.silent), ("bad_certificate", True))
        self.listen(lambda: laws.Ours())
        pool = ConnectionPool(self.endpoint(0.05), reactor, name="worker")
        error = await self.assertFailure(connect(pool), UpstreamError)
        self.assertEqual(error.code, "worker_timeout")
        await until(lambda: all(peer.reason for peer in self.peers))


class Receiver:
    """Keeps a response."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.whole = False
        self.error: UpstreamError | None = None

    def interim(self, head: Any) -> None:
        """None comes."""

    content_only = False
    may_retry = True

    def connected(self, connection: Any) -> None:
        """It is."""

    def respond(self, head: Any, length: int, data: bytes, start: int, complete: bool) -> Callable[[bytes], None]:
        self.body += data[start:]
        self.whole = complete
        return self.body.extend

    def response_end(self) -> None:
        self.whole = True

    def upstream_failed(self, error: UpstreamError) -> None:
        self.error = error

    def pause_request(self) -> None:
        """Requests are small."""

    def resume_request(self) -> None:
        """Requests are small."""

    @property
    def over(self) -> bool:
        return self.whole or self.error is not None


class Responses(Connected):
    """Whether a response is complete depends on how its connection ends."""

    REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    HEAD = b"HTTP/1.1 200 OK\r\n"

    def end(self, peer: Peer, how: str) -> None:
        if how == "notify":
            peer.close_notify()
        peer.transport_.abortConnection() if how == "reset" else peer.transport_.loseConnection()

    async def ask(self, *, used: bool = False) -> tuple[Peer, Receiver]:
        """Send a request on a new connection, or on one that has served another."""
        if not self.peers:
            context = peer_server_context(self.certificate, self.key)
            self.listen(lambda: Peer(context))
        known = len(self.peers)
        pool = ConnectionPool(self.way, reactor, name="worker")
        connection: Any = await connect(pool)
        self.addCleanup(pool.close)
        await until(lambda: len(self.peers) > known)
        peer, receiver = self.peers[-1], Receiver()
        if used:
            connection.send(receiver, self.REQUEST, False, True)
            peer.send(self.HEAD + b"Content-Length: 0\r\n\r\n")
            await until(lambda: receiver.whole and peer.received == self.REQUEST)
            self.assertIs(take(pool), connection)
            peer.received.clear()
            receiver = Receiver()
        connection.send(receiver, self.REQUEST, False, True)
        await until(lambda: peer.received == self.REQUEST)
        return peer, receiver

    async def test_until_close(self) -> None:
        """A response that ends with its connection is whole if the server said so, and else is not."""
        for how in "notify", "close", "reset":
            peer, receiver = await self.ask()
            peer.send(self.HEAD + b"\r\nall of it?")
            await until(lambda receiver=receiver: receiver.body == b"all of it?")
            self.end(peer, how)
            await until(lambda receiver=receiver: receiver.over)
            self.assertEqual(receiver.whole, how == "notify")
            self.assertEqual(receiver.error and receiver.error.code, None if receiver.whole else "truncated_reply")

    async def test_no_response(self) -> None:
        """A server that closes has perhaps read the request, with close_notify or without; one that resets has not."""
        for how in "notify", "close", "reset":
            peer, receiver = await self.ask(used=True)
            self.end(peer, how)
            await until(lambda receiver=receiver: receiver.over)
            assert receiver.error is not None
            self.assertEqual((receiver.error.code, receiver.error.silent), ("no_reply", True))
            self.assertEqual(receiver.error.unread, how == "reset")
