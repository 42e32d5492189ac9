"""
Twelve troubles that an operator meets, one test each: `vespa-proxy check` names the cause in words and says what to do.

Where a running worker shows the trouble too, its log or its response names the cause as well.
"""

from __future__ import annotations

import json
import os
import re
import sys
from email.utils import formatdate
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.processes import until
from tests.simulator_support.authority import Authority
from tests.system.case import SystemCase
from tests.system.scripted import Asked, ScriptedBackend, Stream
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port
from vespa.simulator.signing import Signer

CHECK = [sys.executable, "-m", "vespa.cli", "check", "--json"]
DAY = 86400.0


class TroubleCase(SystemCase):
    async def check(self, *arguments: str, stdin: bytes = b"", code: int = 1, **more: str) -> dict[str, Any]:
        """Run the command for the worker's settings. Returns the last finding of each name that is not right."""
        child = self.start([*CHECK, *arguments], self.settings(**more), folder=self.folder, stdin=stdin)
        self.assertEqual(await self.until_exit(child), code, child.text)
        (part,) = json.loads(child.text)["parts"]
        return {each["what"]: each for each in part["findings"] if each["state"] in ("failed", "warning")}

    def assert_named(self, finding: dict[str, Any], why: str, advice: str, state: str = "failed") -> None:
        """The finding has this state, and these words."""
        self.assertEqual(finding["state"], state)
        self.assertRegex(finding["why"], why)
        self.assertRegex(finding["advice"], advice)

    async def not_ready(self, worker: Child, why: str) -> None:
        """The worker says in its log, and in its 503, why it is not ready."""
        await self.until_line(worker, rf"warn \[\S+\] the backend is not ready: .*{why}")
        await self.until_line(worker, "a new public key is in use")
        peer, _ = await self.call("/echo", {})
        answer = await peer.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (503, [b"not_ready"]))
        self.assertRegex(answer.body.decode(), why)
        await self.end_well(worker)

    async def refused(self, auth: dict[str, Any], code: bytes, message: str) -> None:
        """The worker refuses a request with this assignment, with 401."""
        peer, _ = await self.call("/echo", {}, auth=auth)
        answer = await peer.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (401, [code]))
        self.assertIn(message, answer.body.decode())


class BackendTroubles(TroubleCase):
    async def test_down(self) -> None:
        """1. No server listens at the backend's address."""
        await self.deployed.start_autoscaler()
        place = f"127.0.0.1:{free_port()}"
        self.backend_url = f"http://{place}"
        found = await self.check()
        self.assert_named(found["backend"], f"no server listens at {place}", "VESPA_BACKEND_URL is wrong")
        await self.not_ready(self.launch(), f"no server listens at {place}")

    async def test_slow(self) -> None:
        """2. The backend accepts connections, and does not answer in time."""
        await self.start_around()
        self.backend.scripts["/health"] = self.silent
        limit: Any = {"VESPA_HEALTHCHECK_TIMEOUT": "0.5"}
        found = await self.check(**limit)
        words = r"/health did not answer within 0\.5 s"
        self.assert_named(found["health path"], words, "VESPA_HEALTHCHECK_TIMEOUT")
        await self.not_ready(self.launch(**limit), words)

    async def silent(self, asked: Asked) -> None:
        """Answer nothing until the worker hangs up."""
        await asked.hang_up()

    async def test_erroring(self) -> None:
        """3. The backend answers its health check with an error."""
        await self.start_around()
        self.backend.scripts["/health"] = lambda asked: asked.answer(500)
        found = await self.check()
        words = "/health answered 500: the backend says that it is not ready"
        self.assert_named(found["health path"], words, "look at its own log")
        await self.not_ready(self.launch(), words)

    async def test_wrong_health_path(self) -> None:
        """4. The health path does not exist, and another one answers."""
        await self.start_around()
        for path in ("/health", "/v1/models", "/api/tags", "/api/version", "/v2/health/ready", "/"):
            self.backend.scripts[path] = lambda asked: asked.answer(404)
        self.backend.scripts["/system_stats"] = lambda asked: asked.answer(200)
        found = await self.check()
        words = "/health answered 404, but these paths answer: /system_stats"
        self.assert_named(found["health path"], words, "set VESPA_HEALTHCHECK_ENDPOINT=/system_stats")
        await self.not_ready(self.launch(), "/health answered 404: set VESPA_HEALTHCHECK_ENDPOINT")


class AutoscalerTroubles(TroubleCase):
    async def test_key_unreachable(self) -> None:
        """5. The autoscaler is there, but does not give its key."""
        await self.start_around()
        self.autoscaler.faults.plan("refuse", float("inf"), status=404, paths={"/pubkey/"})
        found = await self.check()
        self.assert_named(found["autoscaler"], "/pubkey/ answered 404.*503 no_key", "REPORT_ADDR")
        worker = self.launch(VESPA_PUBKEY_MAX_RETRIES="1")
        await self.until_line(worker, "could not fetch the public key: .* answered 404")
        await self.until_line(worker, "no public key yet, so all requests are refused")
        await self.end_well(worker)

    async def test_clock_skew(self) -> None:
        """6. The clock of this machine differs from the autoscaler's. Nothing fails, so it is a warning."""
        await self.start_around()
        skewed = ScriptedBackend()
        port = await skewed.listen()
        self.addCleanup(lambda: Deferred.fromCoroutine(skewed.stop()))

        async def key(asked: Asked) -> None:
            late = formatdate(reactor.seconds() - 120.0, usegmt=True)
            await asked.answer(200, self.autoscaler.signer.pem, f"Date: {late}")

        skewed.scripts["/pubkey/"] = key
        began = reactor.seconds()
        found = await self.check(code=0, REPORT_ADDR=f"http://127.0.0.1:{port}")
        took = reactor.seconds() - began
        words = r"this machine's clock is (\d+) s ahead of that of http://127\.0\.0\.1"
        self.assert_named(found["clock"], words, "NTP", "warning")
        said = re.search(words, found["clock"]["why"])
        assert said is not None
        # It is known to half of the time between question and answer, which is long on a busy machine.
        self.assertLessEqual(abs(int(said[1]) - 120), 1 + took / 2)

    async def test_bad_signature(self) -> None:
        """7. Another autoscaler than this worker's has signed a request."""
        await self.start_around()
        self.settings()
        stranger = Signer().assignment(self.url)
        found = await self.check("--route", "-", stdin=json.dumps(stranger).encode())
        words = "neither the form url nor the form full matches, by the key .*401 bad_signature"
        self.assert_named(
            found["route signature"], words, "another autoscaler, or an older key, signed it.*REPORT_ADDR"
        )
        worker = await self.start_worker()
        await self.refused(stranger, b"bad_signature", "the signature does not match the request")
        await self.end_well(worker)

    async def test_wrong_url(self) -> None:
        """8. A request is signed for another address than the worker's own."""
        await self.start_around()
        self.settings()
        other = self.autoscaler.assign("http://198.51.100.1:31000", 5.0)
        found = await self.check("--route", "-", stdin=json.dumps(other).encode())
        words = f"it is signed for http://198.51.100.1:31000, but this worker's URL is {self.url}.*401 wrong_url"
        self.assert_named(found["route url"], words, "PUBLIC_IPADDR")
        worker = await self.start_worker()
        await self.refused(other, b"wrong_url", "the request was signed for another worker's URL")
        await self.end_well(worker)

    async def test_down(self) -> None:
        """10. The autoscaler cannot be reached at all."""
        await self.start_backend()
        address = f"http://127.0.0.1:{free_port()}"
        found = await self.check(REPORT_ADDR=address)
        words = f"no server listens at {address.removeprefix('http://')}.*nobody gets its reports"
        self.assert_named(found["autoscaler"], words, "check REPORT_ADDR")
        worker = self.launch(REPORT_ADDR=address)
        await self.until_line(worker, f"calls of {address}/worker_status/ fail: ")
        await self.end_well(worker)


class WorkerTroubles(TroubleCase):
    async def test_full_queue(self) -> None:
        """9. More requests wait than the queue holds. Only a running worker meets this: the check asks it."""
        stream = self.backend.scripts["/stream"] = Stream()
        limits: Any = {"VESPA_MAX_CONCURRENCY": "1", "VESPA_MAX_QUEUE": "1", "VESPA_MAX_WAIT_TIME": "1000"}
        limits["VESPA_ADMIN_LISTEN"] = f"tcp:{free_port()}:interface=127.0.0.1"
        worker = await self.start_worker(**limits)
        running, _ = await self.call("/stream", {})
        await until(lambda: stream.held)
        peers = [(await self.call("/echo", {}))[0] for _ in range(2)]
        await until(lambda: any(peer.whole for peer in peers))
        (refused,) = [peer for peer in peers if peer.whole]
        answer = await refused.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (429, [b"queue_full"]))
        self.assertIn("the queue is full", answer.body.decode())
        found = await self.check(code=0, **limits)
        words = "New requests get 429: the queue holds 1, as many as VESPA_MAX_QUEUE allows"
        self.assert_named(found["worker"], words, "status page", "warning")
        stream.go_on()
        await running.answer()
        self.assertEqual(sorted([(await peer.answer()).status for peer in peers]), [200, 429])
        await self.end_well(worker)

    async def test_certificate_expired(self) -> None:
        """11. The certificate has expired."""
        await self.start_around()
        key, certificate = Authority(reactor.seconds() - 40 * DAY).issue("127.0.0.1")
        files = {"VESPA_SSL_KEY_FILE": key, "VESPA_SSL_CERT_FILE": certificate}
        tls: Any = {"VESPA_USE_SSL": "true"}
        for name, content in files.items():
            tls[name] = os.path.join(self.folder, name)
            with open(tls[name], "wb") as file:
                file.write(content)
        found = await self.check(**tls)
        words = r"expired on .* UTC, (9|10) days ago: clients refuse it"
        self.assert_named(found["certificate"], words, "start_server.sh")
        worker = self.launch(**tls)
        await self.until_line(worker, "the certificate .* expired on .*, and clients refuse it")
        await self.end_well(worker)

    async def test_port_taken(self) -> None:
        """12. Another program listens at the worker's port."""
        await self.start_around()
        other = ScriptedBackend()
        port = await other.listen("tcp:0")
        self.addCleanup(lambda: Deferred.fromCoroutine(other.stop()))
        self.port = port
        found = await self.check()
        words = f"cannot listen on 0.0.0.0 port {port}: Address already in use"
        self.assert_named(found["port"], words, "another program listens there.*VESPA_WORKER_PORT")
        self.assertIn("cannot start like this", found["report"]["why"])
        worker = self.launch()
        await self.until_line(worker, rf"critical \[\S+\] {words}; another program listens there")
        self.assertEqual(await self.until_exit(worker), 1)
