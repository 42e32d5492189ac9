"""Laws of a worker whose backend or autoscaler goes away and comes back."""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor

from tests.contract.waiting import turns
from tests.processes import until
from tests.simulator_support.faults import Kind
from tests.system.case import SystemCase
from tests.system.peer import Peer
from tests.system.scripted import Stream
from vespa.simulator.child import Child

REPORTS = {"/worker_status/", "/delete_requests/"}
CALL_SECONDS = "2"
"""The timeout of a report. One that was taken, but whose answer comes later than that, is told twice."""


class BackendTests(SystemCase):
    async def refused(self, peer: Peer) -> None:
        answer = await peer.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (503, [b"not_ready"]))
        self.assertIn(b"errored", answer.body)
        self.assertTrue(answer.values(b"retry-after"))

    async def test_dies_and_recovers(self) -> None:
        """A dead backend makes an error that is reported and 503s; when it is back all is well, the message cleared."""
        worker = await self.start_worker(
            VESPA_HEALTHCHECK_POLL_INTERVAL="0.2", VESPA_HEALTHCHECK_CONSECUTIVE_FAILURES="2"
        )
        stream = self.backend.scripts["/stream"] = Stream()
        peer, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        port = self.backend_url.rpartition(":")[2]
        pid = worker.pid
        assert pid is not None
        # While the worker sleeps the backend goes, and a request comes: it probes the backend at once when it wakes.
        os.kill(pid, signal.SIGSTOP)
        await self.backend.stop()
        early, _ = await self.call("/echo", {})
        os.kill(pid, signal.SIGCONT)
        # What was under way is visibly cut, and what comes before the worker knows is told whose fault it is.
        await peer.gone
        self.assertIsNotNone(peer.feed.error)
        self.assertEqual(len(stream.hung_up), 1)
        answer = await early.answer()
        self.assertEqual(answer.status, 502)
        self.assertIn(b'"origin":"backend"', answer.body)
        await self.until_worker(worker, lambda: self.reports[-1].error_msg, "an error")
        self.assertIn("no server listens", self.reports[-1].error_msg)
        self.assertFalse(self.worker_totals.ready(reactor.seconds(), 30.0))
        late, _ = await self.call("/echo", {})
        await self.refused(late)
        loadtime = self.worker_totals.loadtime

        await self.backend.listen(f"tcp:{port}:interface=127.0.0.1")
        await self.until_worker(worker, lambda: self.worker_totals.ready(reactor.seconds(), 30.0), "ready again")
        self.assertEqual(self.reports[-1].error_msg, "")
        self.assertEqual((self.worker_totals.loadtimes_told, self.worker_totals.loadtime), (1, loadtime))
        well, _ = await self.call("/echo", b'"back"')
        self.assertEqual(bytes((await well.answer()).body), b'"back"')
        await self.told(worker, Error=2, Rejected=1, Success=1)
        await self.end_well(worker)

    async def test_restarts_between_requests(self) -> None:
        """After a restart of the backend, a request on a kept connection is sent again; the client notices nothing."""
        worker = await self.start_worker(VESPA_HEALTHCHECK_POLL_INTERVAL="60")
        port = self.backend_url.rpartition(":")[2]
        for text in (b'"one"', b'"two"', b'"three"'):
            peer, _ = await self.call("/echo", text)
            self.assertEqual(bytes((await peer.answer()).body), text)
            await self.backend.stop()
            await self.backend.listen(f"tcp:{port}:interface=127.0.0.1")
        await self.told(worker, Success=3)
        await self.end_well(worker)

    async def test_closes_kept_connections(self) -> None:
        """A request on a connection that the backend has just closed is sent once more, also a POST."""
        worker = await self.start_worker(VESPA_HEALTHCHECK_POLL_INTERVAL="60", VESPA_BACKEND_KEEPALIVE="60")
        peer, pid = await self.connect(), worker.pid
        assert pid is not None
        for number, text in enumerate((b'"one"', b'"two"', b'"three"'), 1):
            # While the worker sleeps the request comes first and the end of the kept connection second.
            os.kill(pid, signal.SIGSTOP)
            peer.send(self.envelope("/echo", text, self.assign()))
            await turns()
            for connection in list(self.backend.connections):
                connection.leave()
                await until(lambda: connection.lost, what="closed")  # noqa: B023
            os.kill(pid, signal.SIGCONT)
            self.assertEqual(bytes((await peer.answer(number)).body), text)
        await self.told(worker, Success=3)
        await self.end_well(worker)


class AutoscalerTests(SystemCase):
    async def survives(self, kind: Kind) -> None:
        worker = await self.start_worker(
            VESPA_METRICS_TIMEOUT=CALL_SECONDS, VESPA_METRICS_RETRY_DELAY="0.05", VESPA_METRICS_MAX_RETRIES="2"
        )
        faults = self.autoscaler.faults
        faults.plan(kind, float("inf"), paths=REPORTS)
        served = []
        for number in range(10):
            peer, idx = await self.call("/echo", b'"during"')
            self.assertEqual(bytes((await peer.answer()).body), b'"during"')
            served.append(idx)
            if number == 4:
                met = faults.met
                await self.until_worker(worker, lambda: faults.met > met + 1, "tried in vain")  # noqa: B023
        stream = self.backend.scripts["/stream"] = Stream()
        peer, idx = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        faults.clear()
        await self.until_worker(worker, lambda: self.reports[-1].working_request_idxs == (idx,), "reported at work")
        stream.go_on()
        await peer.answer()
        await self.told(worker, Success=11)
        self.assertEqual(sorted(self.worker_totals.deletes), [*served, idx])
        self.assertEqual((self.worker_totals.received, self.worker_totals.served), (110_000_000, 110_000_000))
        self.assertEqual(self.worker_totals.loadtimes_told, 1)
        await self.end_well(worker)

    async def test_refuses(self) -> None:
        """While the autoscaler answers with errors, requests go on; afterwards all are reported, once."""
        await self.survives("refuse")

    async def test_hangs(self) -> None:
        """The same while the autoscaler never responds."""
        await self.survives("hang")

    async def test_drops(self) -> None:
        """The same while the autoscaler cuts every connection."""
        await self.survives("drop")

    async def test_away_at_the_end(self) -> None:
        """An autoscaler that hangs cannot keep a worker from its clean end."""
        worker = await self.start_worker()
        self.autoscaler.faults.plan("hang", float("inf"))
        peer, _ = await self.call("/echo", {})
        await peer.answer()
        await self.end_well(worker)

    async def test_away_at_the_start(self) -> None:
        """A worker that came before its autoscaler gets the key and becomes ready when that is there."""
        await self.start_around()
        self.autoscaler.faults.plan("drop", float("inf"))
        worker: Child = self.launch(VESPA_PUBKEY_TIMEOUT="0.3")
        await self.until_line(worker, "the worker is ready")
        peer, _ = await self.call("/echo", {})
        answer = await peer.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (503, [b"no_key"]))
        self.autoscaler.faults.clear()
        await self.until_ready(worker)
        peer, _ = await self.call("/echo", {})
        self.assertEqual((await peer.answer()).status, 200)
        await self.told(worker, Success=1)
        await self.end_well(worker)
