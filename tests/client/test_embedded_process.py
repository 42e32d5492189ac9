"""Embedded clients in processes of their own, where the global reactor is poisoned."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest

from tests.processes import ProcessCase
from tests.transport.tls_peer import write_certificate
from vespa.simulator.child import Child

ROOT = Path(__file__).parent.parent.parent


class EmbeddedProcessTests(ProcessCase):
    def script(self, name: str, **settings: str) -> Child:
        argv = [sys.executable, "-W", "error::RuntimeWarning", "-m", "tests.client.embedded_script", name]
        return self.start(argv, settings, folder=str(ROOT))

    async def assert_untouched(self, child: Child) -> None:
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertEqual(child.text.strip(), "touched: []")

    async def through_the_simulator(self, name: str) -> Child:
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        deployment.start_worker(tls=True, BENCHMARK_CONCURRENCY="4")
        await deployment.until_ready()
        certificate, key = write_certificate(self.temporary_folder())
        return self.script(
            name,
            AUTOSCALER=deployment.autoscaler_url,
            CONSOLE=deployment.autoscaler_url,
            ENDPOINT=deployment.autoscaler.endpoint,
            KEY=deployment.autoscaler.endpoint_key,
            CERTIFICATE=certificate,
            CERTIFICATE_KEY=key,
            SSL_CERT_FILE=certificate,
        )

    async def test_never_the_global_reactor(self) -> None:
        """Whole calls, with TLS to worker and autoscaler and names looked up, touch no global reactor."""
        await self.assert_untouched(await self.through_the_simulator("calls"))

    async def test_traceless(self) -> None:
        """After a stop no thread and no descriptor is left, also where requests were cut by it; and they show it."""
        await self.assert_untouched(await self.through_the_simulator("traceless"))

    async def test_exit_without_stop(self) -> None:
        """A program that never stops its client ends all the same, at once and without a word."""
        child = await self.through_the_simulator("leave_open")
        await self.until_line(child, "touched")
        began = reactor.seconds()
        self.assertEqual(await self.until_exit(child, 30), 0, child.text)
        await self.assert_quick(reactor.seconds() - began, 5)
        await self.assert_untouched(child)

    async def test_synchronous_exit_without_stop(self) -> None:
        """So does one that has no loop."""
        await self.assert_untouched(self.script("stub_left_open"))

    async def test_forked(self) -> None:
        """A child process that leaves the client's `with` does not wait for a thread that only its parent has."""
        if not hasattr(os, "fork"):
            raise SkipTest("processes cannot be forked here")
        await self.assert_untouched(self.script("forked"))

    async def test_a_reactor_afterwards(self) -> None:
        """The program may still install what reactor it likes, and run it beside the client."""
        await self.assert_untouched(self.script("reactor_afterwards"))

    async def test_admin_port(self) -> None:
        """Nor does its admin port touch the global reactor."""
        await self.assert_untouched(self.script("admin_port"))
