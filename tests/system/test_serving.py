"""Laws of a worker as users start it: signed traffic passes, everything is reported, and it ends well."""

from __future__ import annotations

import json

from twisted.internet import reactor

from tests.processes import until
from tests.system.case import BY_TAC, THROUGHPUT, SystemCase
from tests.system.scripted import Stream


class ServingTests(SystemCase):
    async def check(self, *arguments: str) -> None:
        await self.start_around()
        self.backend.healthy = False
        worker = self.launch(*arguments)
        await self.until_worker(worker, lambda: self.reports, "the first report")
        first = self.reports[0]
        self.assertEqual((first.loadtime, first.max_perf, first.error_msg, first.cur_load), (0.0, 0.0, "", 0.0))
        self.assertEqual((first.id, first.mtoken, first.url), (7, "master-token", self.url))
        await self.until_line(worker, "a new public key is in use")
        early, early_idx = await self.call("/echo", {})
        refused = await early.answer()
        self.assertEqual((refused.status, refused.values(b"x-vespa-error")), (503, [b"not_ready"]))
        self.assertTrue(int(refused.values(b"retry-after")[0]) >= 1)
        self.assertIn(b"loading", refused.body)
        self.backend.healthy = True
        await self.until_worker(worker, lambda: self.worker_totals.ready(reactor.seconds(), 30.0), "ready")
        self.assertEqual(self.worker_totals.max_perf, THROUGHPUT)

        payload = b'{"a": 1.50, "text": "caf\\u00e9"}'
        served = [early_idx]
        peer, idx = await self.call("/v1/chat", payload)
        served.append(idx)
        answer = await peer.answer()
        self.assertEqual((answer.status, bytes(answer.body)), (200, payload))

        self.autoscaler.signs = "full"
        upload = bytes(range(256)) * 1200
        peer, idx = await self.ask("PUT", "/files/a%2Fb?x=1&x=2", upload)
        served.append(idx)
        self.assertEqual(bytes((await peer.answer()).body), upload)
        self.assertEqual(self.backend.asked[-1].target, "/files/a%2Fb?x=1&x=2")
        peer, idx = await self.call("/v1/large", upload.hex().encode().join((b'"', b'"')))
        served.append(idx)
        self.assertEqual(len((await peer.answer()).body), 2 * len(upload) + 2)

        stream = self.backend.scripts["/stream"] = Stream()
        peer, idx = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        await self.until_worker(worker, lambda: self.reports[-1].working_request_idxs == (idx,), "reported at work")
        self.assertEqual(self.reports[-1].cur_load, 10.0)
        stream.go_on()
        answer = await peer.answer()
        self.assertEqual(bytes(answer.body), b"data: one\n\ndata: two\n\n")
        served.append(idx)

        self.backend.scripts["/broken"] = lambda asked: asked.answer(500, b"{}")
        peer, idx = await self.call("/broken", {})
        served.append(idx)
        self.assertEqual((await peer.answer()).status, 500)

        auth = self.assign()
        for wrong, status, code in (
            ({**auth, "signature": "A" * 342 + "=="}, 401, b"bad_signature"),
            ({**auth, "url": "http://127.0.0.1:1"}, 401, b"wrong_url"),
            ({**auth, "cost": -1}, 422, b"invalid_envelope"),
        ):
            peer, _ = await self.call("/v1/chat", {}, auth=wrong)
            answer = await peer.answer()
            self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (status, [code]))
            self.assertEqual(json.loads(answer.body)["error"]["origin"], "client")

        await self.told(worker, Success=5, Rejected=1)
        self.assertEqual(sorted(self.worker_totals.deletes), sorted(served))
        self.assertEqual(self.worker_totals.deletes[early_idx], ["Rejected"])
        # The 500 is complete, and no work.
        self.assertEqual((self.worker_totals.served, self.worker_totals.rejected), (40_000_000, 10_000_000))
        await self.end_well(worker)
        self.assertEqual(self.worker_totals.loadtimes_told, 1)
        self.assertEqual(self.backend.errors, [])

    async def test_plugin(self) -> None:
        """`twistd vespa` reports while loading, tells its load time once, serves what is signed, and ends with 0."""
        await self.check()

    async def test_tac(self) -> None:
        """`twistd -y vespa.tac` does the same."""
        await self.check(*BY_TAC)
