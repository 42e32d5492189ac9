"""Tests of `vespa.checking.worker`: what its parts are told, over sockets of loopback."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet import reactor as typed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.simulator_support.deployment import ControlledDeployment
from vespa.checking.finding import Finding, Findings, ok
from vespa.checking.worker import WorkerCheck, is_own, settings_findings
from vespa.config.worker_reading import read
from vespa.simulator.launch import free_port, worker_environment

reactor: Any = typed_reactor


class SettingsTests(SynchronousTestCase):
    def test_well(self) -> None:
        """Settings without mistakes are one line with their number; each warning is a line."""
        environ = {"VESPA_BACKEND_URL": "http://a", "UNSECURED": "true", "VESPA_BAKEND_URL": "http://b"}
        found, hint = settings_findings(read(environ), environ)
        self.assertEqual((found.state, found.why), ("ok", "2 variables are set, without mistakes"))
        self.assertEqual(hint.state, "warning")
        self.assertIn("did you mean VESPA_BACKEND_URL", hint.why)

    def test_mistakes(self) -> None:
        """Each mistake is a line."""
        environ = {"VESPA_UNSECURED": "true", "VESPA_MAX_QUEUE": "many"}
        found = settings_findings(read(environ), environ)
        self.assertEqual([each.state for each in found], ["failed", "failed"])


class OwnPortTests(SynchronousTestCase):
    def test_own(self) -> None:
        """A backend at the worker's own port is found, by any name of this machine."""
        for url, expected in (
            ("http://127.0.0.1:3000", True),
            ("http://localhost:3000/v1", True),
            ("http://[::1]:3000", True),
            ("http://203.0.113.7:3000", True),
            ("http://127.0.0.1:3001", False),
            ("http://10.1.2.3:3000", False),
            ("unix:/run/a.sock", False),
        ):
            settings = read({"VESPA_BACKEND_URL": url, "PUBLIC_IPADDR": "203.0.113.7"}).settings
            self.assertIs(is_own(settings, settings.backend_url), expected, url)
        self.assertFalse(is_own(read({}).settings, None))


class WorkerCase(TestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.deployment = ControlledDeployment(reactor, self.folder, os.environ)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.deployment.stop()))

    async def check(self, environ: dict[str, str], **more: Any) -> Findings:
        reading = read(environ)
        check = WorkerCheck(
            reactor=reactor, environ=environ, reading=reading, token="t", disk_usage=lambda: 1.0, **more
        )
        return await check.run()

    def environment(self, **more: str) -> dict[str, str]:
        port = free_port()
        cache = os.path.join(self.folder, "benchmark")
        autoscaler = self.deployment.autoscaler_url
        environ = worker_environment(
            port=port, backend_url=self.deployment.backend_url, report_addr=autoscaler, cache_file=cache
        )
        return {**environ, "VAST_CONSOLE_URL": autoscaler, **more}

    def by_name(self, found: Findings) -> dict[str, Finding]:
        return {each.what: each for each in found.found}


class WorkerTests(WorkerCase):
    async def test_nothing_there(self) -> None:
        """With nothing around it, each part says what it misses; nothing raises."""
        environ = {"REPORT_ADDR": f"http://127.0.0.1:{free_port()}", "VESPA_WORKER_PORT": str(free_port())}
        found = self.by_name(await self.check(environ))
        self.assertEqual((found["backend"].state, found["autoscaler"].state), ("skipped", "failed"))
        self.assertIn("the worker refuses all requests (503 no_key)", found["autoscaler"].why)
        self.assertEqual((found["report"].state, found["port"].state), ("ok", "ok"))
        environ = {**environ, "VESPA_BACKEND_URL": "https://127.0.0.1:1", "VESPA_BACKEND_CA_FILE": __file__}
        found = self.by_name(await self.check(environ))
        self.assertEqual(found["backend"].state, "failed")
        self.assertIn("VESPA_BACKEND_CA_FILE", found["backend"].why)

    async def test_circle(self) -> None:
        """A worker that is its own backend is told so."""
        port = str(free_port())
        environ = {
            "VESPA_BACKEND_URL": f"http://localhost:{port}",
            "VESPA_WORKER_PORT": port,
            "VESPA_UNSECURED": "true",
        }
        found = self.by_name(await self.check(environ))
        self.assertEqual((found["backend"].state, "in a circle" in found["backend"].why), ("failed", True))

    async def test_several(self) -> None:
        """Each of several backends is examined, and its lines have its name."""
        await self.deployment.start_backend()
        port, dead = free_port(), free_port()
        backend = self.deployment.backend_url
        environ = {
            "VESPA_BACKEND_URL": f"{backend},http://127.0.0.1:{dead},http://127.0.0.1:{port}",
            "VESPA_UNSECURED": "true",
            "VESPA_WORKER_PORT": str(port),
            "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark",
        }
        found = self.by_name(await self.check(environ))
        name = backend.removeprefix("http://")
        self.assertEqual((found[f"backend {name}"].state, found[f"health path {name}"].state), ("ok", "ok"))
        self.assertEqual(found[f"backend 127.0.0.1:{dead}"].state, "failed")
        self.assertIn(f"no server listens at 127.0.0.1:{dead}", found[f"backend 127.0.0.1:{dead}"].why)
        self.assertIn("in a circle", found[f"backend 127.0.0.1:{port}"].why)
        self.assertEqual(found[f"result {name}"].state, "ok")

    async def test_unsecured(self) -> None:
        """An unsecured worker without an identity needs no autoscaler."""
        await self.deployment.start_backend()
        environ = {
            "VESPA_BACKEND_URL": self.deployment.backend_url,
            "VESPA_UNSECURED": "true",
            "VESPA_WORKER_PORT": str(free_port()),
        }
        found = await self.check(environ)
        self.assertEqual({each.state for each in found.found}, {"ok"}, found.found)

    async def test_disk(self) -> None:
        """A disk that cannot be measured is no failure."""

        def unmeasurable() -> float:
            raise OSError

        environ = {"VESPA_WORKER_PORT": str(free_port()), "REPORT_ADDR": f"http://127.0.0.1:{free_port()}"}
        reading = read(environ)
        check = WorkerCheck(reactor=reactor, environ=environ, reading=reading, token="t", disk_usage=unmeasurable)
        self.assertTrue((await check.run()).found)


class BenchmarkTests(WorkerCase):
    """What imports the benchmark, in a process of its own."""

    slow = True

    async def test_well(self) -> None:
        """A worker that could start has no line that is not right, and nothing was reported or written."""
        await self.deployment.start_autoscaler()
        await self.deployment.start_backend()
        url = "http://203.0.113.7:31000"
        route = json.dumps(self.deployment.autoscaler.assign(url, 5.0)).encode()
        found = await self.check(self.environment(), route=route, notes=[ok("start", "noted")])
        states = {each.what: each.state for each in found.found}
        self.assertEqual(states.pop("route url"), "failed")
        self.assertEqual(set(states.values()), {"ok"}, found.found)
        self.assertEqual(
            list(states),
            [
                *("start", "settings", "certificate", "port", "public url", "backend", "health path", "server"),
                *("benchmark", "result", "autoscaler", "clock", "route", "route signature", "report"),
            ],
        )
        assert found.report is not None
        self.assertEqual(found.report["error_msg"], "")
        self.assertEqual(self.deployment.autoscaler.totals.workers, {})
        self.assertEqual(os.listdir(self.folder), [])

    async def test_taken_port(self) -> None:
        """The report would name a port that is taken."""
        await self.deployment.start_autoscaler()
        await self.deployment.start_backend()
        taken = self.deployment.backend_url.rpartition(":")[2]
        environ = self.environment(VESPA_WORKER_PORT=taken)
        environ[f"VAST_TCP_PORT_{taken}"] = taken
        found = await self.check(environ)
        assert found.report is not None
        self.assertIn("another program listens there", found.report["error_msg"])
