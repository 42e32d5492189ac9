"""Laws of a worker's end while requests are under way."""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError

from tests.processes import until
from tests.system.case import SystemCase
from tests.system.peer import Peer, connect, request, way
from tests.system.scripted import Stream
from vespa.simulator.child import Child


class DrainTests(SystemCase):
    async def streaming(self, **settings: str) -> tuple[Child, Peer, Stream]:
        """A worker with one stream under way."""
        worker = await self.start_worker(**settings)
        stream = self.backend.scripts["/stream"] = Stream()
        peer, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        return worker, peer, stream

    async def finishes(self, signal: str) -> None:
        worker, peer, stream = await self.streaming()
        idle, held = await self.connect(), await self.connect()
        idle.send(request("GET", "/ping"))
        await idle.answer()
        held.send(b"POST /slow HTTP/1.1\r\nHost: worker\r\nContent-Length: 10\r\n\r\n{")
        queued, _ = await self.call("/echo", {})
        await queued.answer()
        worker.signal(signal)
        await idle.gone
        await queued.gone
        with self.assertRaises(ConnectionRefusedError):
            await connect(way(self.port))
        self.assertFalse(peer.lost)
        held.cut()
        stream.go_on()
        answer = await peer.answer()
        self.assertEqual(bytes(answer.body), b"data: one\n\ndata: two\n\n")
        await peer.gone
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assert_clean_log(worker)
        # Nothing can come after the exit: what was told by now was told in time.
        await self.told(worker, Success=2)
        last = self.reports[-1]
        self.assertEqual((last.cur_load, last.num_requests_working, last.working_request_idxs), (0.0, 0, ()))
        self.assertEqual(self.worker_totals.served, 20_000_000)

    async def test_term(self) -> None:
        """After SIGTERM no request is accepted, those in flight end, the last report is sent; the exit code is 0."""
        await self.finishes("TERM")

    async def test_int(self) -> None:
        """SIGINT is the same."""
        await self.finishes("INT")

    async def test_too_long(self) -> None:
        """Requests longer than the drain's time are visibly cut and reported as cancelled; the exit code is 0."""
        worker, peer, stream = await self.streaming(VESPA_DRAIN_TIMEOUT="0.5")
        worker.signal("TERM")
        await peer.gone
        self.assertEqual(len(peer.whole), 0)
        self.assertIsNotNone(peer.feed.error)
        self.assertTrue(peer.raw.endswith(b"data: one\n\n\r\n"), bytes(peer.raw))
        await until(lambda: stream.hung_up, what="the backend hears of it")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assert_clean_log(worker)
        await self.told(worker, Cancelled=1)

    async def test_stream_error(self) -> None:
        """With VESPA_STREAM_ERRORS an event stream that is cut ends with an event that tells why."""
        worker, peer, _ = await self.streaming(VESPA_DRAIN_TIMEOUT="0.5", VESPA_STREAM_ERRORS="true")
        worker.signal("TERM")
        await peer.gone
        self.assertEqual(len(peer.whole), 0)
        self.assertRegex(
            bytes(peer.raw), rb"data: one\n\n\r\n[0-9a-f]+\r\n\n\nevent: error\ndata: .*draining.*\n\n\r\n$"
        )
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assert_clean_log(worker)
        await self.told(worker, Cancelled=1)

    async def test_second_signal(self) -> None:
        """A second signal ends it at once."""
        worker, peer, _ = await self.streaming(VESPA_DRAIN_TIMEOUT="60")
        worker.signal("TERM")
        await self.until_line(worker, "SIGTERM: stopping")
        worker.signal("INT")
        self.assertEqual(await self.until_exit(worker, 20.0), 1)
        await peer.gone

    async def test_new_request(self) -> None:
        """A request on a kept connection during the drain gets 503, and is reported as rejected."""
        worker, peer, stream = await self.streaming()
        auth = self.assign()
        late = await self.connect()
        data = self.envelope("/echo", {}, auth)
        late.send(data[:40])
        await self.until_read()
        worker.signal("TERM")
        await self.until_line(worker, "SIGTERM: stopping")
        late.more(data[40:])
        answer = await late.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (503, [b"draining"]))
        self.assertIn(b"close", answer.tokens(b"connection"))
        stream.go_on()
        await peer.answer()
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        await self.told(worker, Success=1, Rejected=1)

    async def test_queued(self) -> None:
        """A request that waits for a slot at SIGTERM still gets it."""
        worker, peer, stream = await self.streaming(VESPA_ALLOW_PARALLEL="false")
        waiting, idx = await self.call("/echo", b'"waited"')
        await self.until_worker(worker, lambda: idx in self.reports[-1].working_request_idxs, "queued")
        worker.signal("TERM")
        await self.until_line(worker, "SIGTERM: stopping")
        stream.go_on()
        await peer.answer()
        self.assertEqual(bytes((await waiting.answer()).body), b'"waited"')
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        await self.told(worker, Success=2)
