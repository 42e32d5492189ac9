"""Laws of memory: what passes through a worker does not stay in it. Sizes are those of the process, as Linux tells."""

from __future__ import annotations

import re
import socket
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.processes import until
from tests.system.case import SystemCase
from tests.system.certificates import Pair
from tests.system.peer import Peer, request
from tests.system.scripted import Asked, head
from vespa.simulator.child import Child
from vespa.simulator.signing import body_envelope, query_envelope

MIB = 1 << 20
PIECE = bytes(256 * 1024)


def memory(worker: Child, name: str) -> int:
    """A size from the process's status, in bytes: VmRSS now, VmHWM at its highest."""
    with open(f"/proc/{worker.pid}/status") as file:
        found = re.search(rf"^{name}:\s+(\d+) kB$", file.read(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(worker: Child) -> None:
    """Let VmHWM count from now."""
    with open(f"/proc/{worker.pid}/clear_refs", "w") as file:
        file.write("5")


@implementer(IPushProducer)
class Flow:
    """Writes so many bytes to a peer's transport, as fast as they are taken."""

    def __init__(self, peer: Peer, size: int, piece: bytes = PIECE) -> None:
        self.left = size
        self._piece = piece
        self._transport = peer.transport
        self._paused = False
        self.done: Deferred[None] = Deferred()
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self.left and not self._paused:
            piece = self._piece[: self.left]
            self.left -= len(piece)
            self._transport.write(piece)
        if not self.left and not self.done.called:
            self._transport.unregisterProducer()
            self.done.callback(None)

    def stopProducing(self) -> None:
        self.left = 0


async def download(asked: Asked) -> None:
    """Answer with as many bytes as the query says."""
    size = int(asked.target.partition("size=")[2])
    await asked.send(head(200, f"Content-Length: {size}"))
    while size:
        await asked.send(PIECE[:size])
        size -= len(PIECE[:size])


async def count(asked: Asked) -> None:
    """Take a request's body, and answer how long it was."""
    await asked.whole()
    await asked.answer(200, b"%d" % asked.dropped)


class MemoryTests(SystemCase):
    if not sys.platform.startswith("linux"):
        skip = "needs /proc"

    async def start_warm(self, **settings: str) -> Child:
        """A worker that has served requests of each kind, so that what it keeps for good is there."""
        worker = await self.start_worker(**settings)
        self.backend.scripts.update({"/upload": count, "/download": download})
        self.backend.keep_bodies = False
        for _ in range(3):
            await self.upload(4 * MIB)
            await self.download(4 * MIB)
        return worker

    async def upload(self, size: int) -> None:
        peer = await self.connect()
        target = f"/upload?{query_envelope(self.assign())}"
        peer.send(request("PUT", target, None, f"Content-Length: {size}"), b"PUT")
        await Flow(peer, size).done
        self.assertEqual(int((await peer.answer()).body), size)
        peer.cut()

    async def download(self, size: int) -> None:
        peer = await self.connect()
        peer.keep = False
        peer.send(request("GET", f"/download?{query_envelope(self.assign())}&size={size}"))
        await until(lambda: peer.size >= size or peer.lost, what="the download")
        self.assertFalse(peer.lost)
        peer.cut()

    async def still(self, worker: Child, asked: Asked) -> None:
        """Wait until a response no longer moves."""
        seen = -1
        while seen != asked.connection.written:
            seen = asked.connection.written
            await deferLater(reactor, 0.3)
        self.assertIsNone(worker.exit_code)

    async def test_upload(self) -> None:
        """A large upload leaves nothing behind, nor is much of it there at once."""
        worker = await self.start_warm()
        before = memory(worker, "VmRSS")
        forget_peak(worker)
        await self.upload(200 * MIB)
        self.assertLess(memory(worker, "VmRSS") - before, 8 * MIB)
        self.assertLess(memory(worker, "VmHWM") - before, 16 * MIB)
        await self.end_well(worker)

    async def test_download(self) -> None:
        """The same for a large download."""
        worker = await self.start_warm()
        before = memory(worker, "VmRSS")
        forget_peak(worker)
        await self.download(200 * MIB)
        self.assertLess(memory(worker, "VmRSS") - before, 8 * MIB)
        self.assertLess(memory(worker, "VmHWM") - before, 16 * MIB)
        await self.end_well(worker)

    async def test_envelope(self) -> None:
        """The same for a large payload in an envelope, which is unwrapped while it is passed on."""
        worker = await self.start_warm()
        before = memory(worker, "VmRSS")
        forget_peak(worker)
        letters, size = b"vespa" * 50_000, 100 * MIB
        body = body_envelope(self.assign(), b'""')
        peer = await self.connect()
        peer.send(request("POST", "/upload", None, f"Content-Length: {len(body) + size}") + body[:-2], b"POST")
        await Flow(peer, size, letters).done
        peer.more(body[-2:])
        self.assertEqual(int((await peer.answer()).body), size + 2)
        self.assertLess(memory(worker, "VmRSS") - before, 8 * MIB)
        self.assertLess(memory(worker, "VmHWM") - before, 16 * MIB)
        await self.end_well(worker)

    async def test_tls(self) -> None:
        """The same over TLS, both ways."""
        pair = Pair(self.folder)
        self.trust = pair.certificate
        worker = await self.start_warm(
            VESPA_USE_SSL="true", VESPA_SSL_CERT_FILE=pair.cert_file, VESPA_SSL_KEY_FILE=pair.key_file
        )
        before = memory(worker, "VmRSS")
        forget_peak(worker)
        await self.upload(50 * MIB)
        await self.download(50 * MIB)
        self.assertLess(memory(worker, "VmRSS") - before, 8 * MIB)
        self.assertLess(memory(worker, "VmHWM") - before, 16 * MIB)
        await self.end_well(worker)

    async def test_no_reader(self) -> None:
        """A client that never reads a large response holds the backend back, and has not much of it kept for it."""
        worker = await self.start_warm()
        forget_peak(worker)
        before = memory(worker, "VmHWM")
        peer = await self.connect()
        peer.transport.pauseProducing()
        size = 256 * MIB
        peer.send(request("GET", f"/download?{query_envelope(self.assign())}&size={size}"))
        await until(lambda: self.backend.on("/download")[-1].target.endswith(str(size)), what="the request")
        asked = self.backend.on("/download")[-1]
        await self.still(worker, asked)
        self.assertFalse(asked.gone)
        self.assertLess(asked.connection.written, size // 2)
        self.assertLess(memory(worker, "VmHWM") - before, 8 * MIB)
        peer.transport.resumeProducing()
        peer.cut()
        await until(lambda: asked.gone, what="the backend hears that the client has left")
        await self.end_well(worker)

    async def test_no_writer(self) -> None:
        """A backend that never reads a large upload holds the client back."""
        worker = await self.start_warm()

        async def deaf(asked: Asked) -> None:
            asked.connection.transport.pauseProducing()
            await asked.hang_up()

        self.backend.scripts["/deaf"] = deaf
        forget_peak(worker)
        before = memory(worker, "VmHWM")
        peer = await self.connect()
        size = 256 * MIB
        peer.send(request("PUT", f"/deaf?{query_envelope(self.assign())}", None, f"Content-Length: {size}"), b"PUT")
        flow = Flow(peer, size)
        await until(lambda: self.backend.on("/deaf"), what="the request")
        left = -1
        while left != flow.left:
            left = flow.left
            await deferLater(reactor, 0.3)
        self.assertGreater(left, size // 2)
        self.assertLess(memory(worker, "VmHWM") - before, 8 * MIB)
        peer.cut()
        for asked in self.backend.on("/deaf"):
            asked.connection.transport.resumeProducing()
        await self.told(worker, Success=6, Cancelled=1)
        await self.end_well(worker)

    async def test_pipeline(self) -> None:
        """A client that sends request after request and reads no response is cut, and leaves nothing."""
        worker = await self.start_warm()
        peer = Peer()
        with socket.socket() as small:
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.connect(("127.0.0.1", self.port))
            small.setblocking(False)
            adopting: Any = reactor
            adopting.adoptStreamConnection(small.fileno(), socket.AF_INET, Factory.forProtocol(lambda: peer))
        before = memory(worker, "VmRSS")
        forget_peak(worker)
        peer.transport.pauseProducing()
        pings = request("GET", "/ping") * 1000
        Flow(peer, 64 * MIB, pings)
        await until(lambda: peer.lost, what="the connection is cut")
        self.assertLess(memory(worker, "VmRSS") - before, 2 * MIB)
        self.assertLess(memory(worker, "VmHWM") - before, 2 * MIB)
        await self.end_well(worker)
