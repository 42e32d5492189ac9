"""Laws of real processes: what a wrong environment does, and how a worker ends. By plugin, by .tac, by launcher."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.simulator_support.deployment import ControlledDeployment
from tests.system.peer import connect, request, way
from vespa.simulator.autoscaler import Report
from vespa.simulator.child import Child
from vespa.simulator.launch import ROOT, clean_environment, free_port, worker_command, worker_environment
from vespa.simulator.reports import WorkerStatus

BY_PLUGIN = worker_command()
BY_TAC = worker_command("-y", os.path.join(ROOT, "vespa.tac"))
BY_COMMAND = [sys.executable, "-m", "vespa.cli", "worker"]
BY_TEMPLATE = [sys.executable, os.path.join(ROOT, "worker.py")]
BY_SCRIPT = [os.path.join(ROOT, "start_server.sh")]
POLL_SECONDS = 0.05
WAIT_MAX_SECONDS = 60.0


class ProcessCase(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder)
        self.reports: list[WorkerStatus] = []
        self.deployment = ControlledDeployment(reactor, self.folder, os.environ, on_report=self.reported)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.deployment.stop()))

    def reported(self, report: Report) -> None:
        if isinstance(report, WorkerStatus):
            self.reports.append(report)

    def start(self, command: list[str], **environ: str) -> Child:
        child = Child.start(
            reactor,
            command,
            {**clean_environment(os.environ), "VESPA_PYTHON": sys.executable, **environ},
            folder=self.folder,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(child.end(reactor)))
        return child

    async def until(self, child: Child, text: str) -> None:
        clock: Any = reactor
        deadline = clock.seconds() + WAIT_MAX_SECONDS
        while text not in child.text:
            if child.exit_code is not None or clock.seconds() > deadline:
                self.fail(f"exit code {child.exit_code}, and never {text!r} in:\n{child.text}")
            await deferLater(reactor, POLL_SECONDS)

    async def until_read(self, port: int) -> None:
        """Wait until a worker has read what was sent to it so far, by asking it something after that."""
        peer = await connect(way(port))
        peer.send(request("GET", "/v1/models"))
        await peer.answer()
        peer.cut()
        await peer.gone

    def quick_start(self, **more: str) -> dict[str, str]:
        return {
            "VESPA_BACKEND_URL": self.deployment.backend_url or "http://127.0.0.1:1",
            "VESPA_WORKER_PORT": str(free_port()),
            "VESPA_UNSECURED": "true",
            **more,
        }

    def on_vast(self, **more: str) -> dict[str, str]:
        environ = worker_environment(
            port=free_port(),
            backend_url=self.deployment.backend_url or "http://127.0.0.1:1",
            report_addr=self.deployment.autoscaler_url,
            cache_file=os.path.join(self.folder, "benchmark"),
        )
        return {**environ, **more}


class BadSettingsTests(ProcessCase):
    async def check(self, command: list[str]) -> None:
        child = self.start(command, VESPA_WORKER_PORT="x", VESPA_MAX_QUEUE="-1", VESPA_BACKEND_ULR="http://x")
        self.assertEqual(await child.exited(), 1)
        for part in (
            "VESPA_WORKER_PORT='x'",
            "VESPA_MAX_QUEUE='-1'",
            "VESPA_BACKEND_URL is not set",
            "CONTAINER_ID is not set",
            "did you mean VESPA_BACKEND_URL?",
        ):
            self.assertIn(part, child.text)
        self.assertNotIn("Traceback", child.text)

    async def test_plugin(self) -> None:
        """By the plugin every mistake is printed and the exit code is 1."""
        await self.check(BY_PLUGIN)

    async def test_tac(self) -> None:
        """By the .tac, from another folder, too."""
        await self.check(BY_TAC)

    async def test_command(self) -> None:
        """By `vespa-proxy worker` too."""
        await self.check(BY_COMMAND)

    async def test_script(self) -> None:
        """By start_server.sh too."""
        await self.check(BY_SCRIPT)


class FailureReportTests(ProcessCase):
    async def check(self, command: list[str]) -> None:
        await self.deployment.start_autoscaler()
        child = self.start(command, **self.on_vast(VESPA_BENCHMARK="", VESPA_MAX_QUEUE="many"))
        await self.until(child, "VESPA_MAX_QUEUE='many'")
        while not self.reports:
            await deferLater(reactor, POLL_SECONDS)
        self.assertIn("VESPA_BENCHMARK is empty", self.reports[0].error_msg)
        self.assertIn("VESPA_MAX_QUEUE='many'", self.reports[0].error_msg)
        child.signal("TERM")
        self.assertEqual(await child.exited(), 1)

    async def test_plugin(self) -> None:
        """A worker that knows itself reports its settings' mistakes until it is stopped, which is no clean end."""
        await self.check(BY_PLUGIN)

    async def test_tac(self) -> None:
        """By the .tac too."""
        await self.check(BY_TAC)


class EndTests(ProcessCase):
    async def check(self, command: list[str], signal: str) -> None:
        child = self.start(command, **self.quick_start())
        await self.until(child, "listening on")
        child.signal(signal)
        self.assertEqual(await child.exited(), 0, child.text)

    async def test_term(self) -> None:
        """SIGTERM is a clean end."""
        await self.check(BY_PLUGIN, "TERM")

    async def test_int(self) -> None:
        """SIGINT is one, too."""
        await self.check(BY_PLUGIN, "INT")

    async def test_tac(self) -> None:
        """The same with the .tac."""
        await self.check(BY_TAC, "TERM")

    async def test_script(self) -> None:
        """The same through start_server.sh and the launcher."""
        await self.check(BY_SCRIPT, "TERM")

    async def test_checked_by_script(self) -> None:
        """start_server.sh examines the worker that it would start: on Vast.ai with TLS."""
        await self.deployment.start_autoscaler()
        child = self.start([*BY_SCRIPT, "check", "--json"], **self.on_vast(VESPA_SSL_CERT_FILE="/nowhere.crt"))
        self.assertEqual(await child.exited(), 1)
        self.assertIn("which set VESPA_USE_SSL=true", child.text)
        self.assertIn("the certificate /nowhere.crt cannot be read", child.text)

    async def test_taken_port(self) -> None:
        """A port that is taken is exit code 1, and the launcher reports it once."""
        await self.deployment.start_autoscaler()
        await self.deployment.start_backend()
        taken = self.deployment.backend_url.rpartition(":")[2]
        child = self.start(
            BY_TEMPLATE,
            **self.on_vast(VESPA_WORKER_PORT=taken, **{f"VAST_TCP_PORT_{taken}": "1"}, VESPA_USE_SSL="false"),
        )
        self.assertEqual(await child.exited(), 1)
        errors = [report.error_msg for report in self.reports if report.error_msg]
        self.assertEqual(len(errors), 1, errors)
        self.assertIn("Address already in use", errors[0])

    async def test_second_signal(self) -> None:
        """With a request still under way the first signal waits for it, and a second one does not."""
        await self.deployment.start_backend()
        environ = self.quick_start(VESPA_DRAIN_TIMEOUT="60")
        child = self.start(BY_PLUGIN, **environ)
        await self.until(child, "listening on")
        # A request whose body never ends is under way for as long as its client likes.
        held = Child.start(
            reactor,
            [
                sys.executable,
                "-c",
                "import socket, sys, time\n"
                "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
                "s.sendall(b'POST /held HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 100\\r\\n\\r\\n{')\n"
                "print('sent', flush=True)\n"
                "time.sleep(60)",
                environ["VESPA_WORKER_PORT"],
            ],
            os.environ,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(held.end(reactor)))
        await self.until(held, "sent")
        await self.until_read(int(environ["VESPA_WORKER_PORT"]))
        child.signal("TERM")
        await self.until(child, "SIGTERM: stopping")
        await deferLater(reactor, 0.5)
        self.assertIsNone(child.exit_code)
        child.signal("TERM")
        self.assertEqual(await child.exited(), 1)


class CertificateTests(ProcessCase):
    def with_tls(self, **more: str) -> dict[str, str]:
        return self.on_vast(
            VESPA_SIGN_URL=f"{self.deployment.autoscaler_url}/api/v0/sign_cert/",
            VESPA_SSL_CERT_FILE=os.path.abspath(os.path.join(self.folder, "instance.crt")),
            VESPA_SSL_KEY_FILE=os.path.abspath(os.path.join(self.folder, "instance.key")),
            **more,
        )

    async def test_signed(self) -> None:
        """On Vast the template's start has a certificate signed, and then listens with it."""
        await self.deployment.start_autoscaler()
        child = self.start(BY_TEMPLATE, **self.with_tls())
        await self.until(child, "listening on")
        self.assertIn("instance.crt: signed anew", child.text)
        child.signal("TERM")
        self.assertEqual(await child.exited(), 0, child.text)
        self.assertTrue(all(report.url.startswith("https://") for report in self.reports))

    async def test_error_page(self) -> None:
        """When the response is no certificate nothing is stored or started, and the autoscaler is told why."""
        await self.deployment.start_autoscaler()
        environ = self.with_tls()
        environ["VESPA_SIGN_URL"] = f"{self.deployment.autoscaler_url}/pubkey/nothing"
        environ["VESPA_SIGN_TRIES"] = "2"
        child = self.start(BY_SCRIPT, **environ)
        self.assertEqual(await child.exited(), 1)
        (report,) = self.reports
        self.assertIn("Vast signed no certificate", report.error_msg)
        self.assertNotIn("instance.crt", os.listdir(self.folder))
