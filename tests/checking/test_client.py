"""Tests of `vespa.checking.client`, over sockets of loopback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor as typed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.simulator_support.autoscaler import ControlledAutoscaler
from tests.simulator_support.deployment import ControlledDeployment
from tests.system.certificates import Pair
from vespa.checking.client import ClientCheck
from vespa.checking.finding import Finding
from vespa.simulator.launch import free_port

reactor: Any = typed_reactor
ACCOUNT_KEY = "key-of-the-account-3141"


class ClientTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.deployment = ControlledDeployment(reactor, self.folder, os.environ)
        self.deployment.autoscaler = ControlledAutoscaler(reactor, account_key=ACCOUNT_KEY)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.deployment.stop()))
        await self.deployment.start_autoscaler()

    async def check(self, **more: str) -> dict[str, Finding]:
        url = self.deployment.autoscaler_url
        environ = {
            "HOME": self.folder,
            "USERPROFILE": self.folder,
            "VAST_ENDPOINT": "demo",
            "VAST_AUTOSCALER_URL": url,
            "VAST_CONSOLE_URL": url,
            "VESPA_CLIENT_PORT": str(free_port()),
            **more,
        }
        return {each.what: each for each in (await ClientCheck(reactor=reactor, environ=environ).run()).found}

    async def test_endpoint_key(self) -> None:
        """With the endpoint's key the console is not needed."""
        found = await self.check(VAST_API_KEY="k")
        self.assertEqual({each.state for each in found.values()}, {"ok"}, found)
        self.assertEqual(found["key"].why, "the endpoint's key is in VAST_API_KEY")
        self.assertIn("not needed", found["console"].why)

    async def test_admin_certificate(self) -> None:
        """The certificate of an admin port with TLS is examined, and a mistake there names the client's own setting."""
        pair = Pair(self.folder)  # valid for a day
        listen = f"ssl:9465:interface=127.0.0.1:privateKey={pair.key_file}:certKey="
        found = (await self.check(VAST_API_KEY="k", VESPA_CLIENT_ADMIN_LISTEN=listen + pair.cert_file))[
            "admin certificate"
        ]
        self.assertEqual((found.state, "expires on" in found.why), ("warning", True), found)
        found = (await self.check(VAST_API_KEY="k", VESPA_CLIENT_ADMIN_LISTEN=f"{listen}/no/such"))["admin certificate"]
        self.assertEqual((found.state, "--admin-listen" in found.advice), ("failed", True), found)

    async def test_account_key(self) -> None:
        """The account's key is named by its file, and the console is asked for the endpoint."""
        path = Path(self.folder, ".vast_api_key")
        path.write_text(ACCOUNT_KEY)
        path.chmod(0o600)
        found = await self.check()
        self.assertEqual({each.state for each in found.values()}, {"ok"}, found)
        self.assertEqual(found["key"].why, f"the account's key is in {path}")
        self.assertIn("knows the endpoint demo (id 1, active)", found["console"].why)
        self.assertNotIn(ACCOUNT_KEY, str(found))

    async def test_console(self) -> None:
        """A console that is away, rejects the key or does not know the endpoint is a failure."""
        for more, words in (
            ({"VAST_ACCOUNT_KEY": "other"}, "does not accept the account key (401)"),
            ({"VAST_ACCOUNT_KEY": ACCOUNT_KEY, "VAST_ENDPOINT": "dem"}, "did you mean demo?"),
            (
                {"VAST_ACCOUNT_KEY": ACCOUNT_KEY, "VAST_CONSOLE_URL": f"http://127.0.0.1:{free_port()}"},
                "cannot be reached",
            ),
        ):
            found = (await self.check(**more))["console"]
            self.assertEqual((found.state, words in found.why), ("failed", True), found)

    async def test_debug_worker(self) -> None:
        """With a worker to debug, neither console nor autoscaler is asked."""
        found = await self.check(
            VAST_ENDPOINT="",
            VAST_DEBUG_WORKER_URL="http://localhost:3000",
            VAST_AUTOSCALER_URL=f"http://127.0.0.1:{free_port()}",
        )
        self.assertIn("worker http://localhost:3000", found["settings"].why)
        for name in ("key", "console", "autoscaler"):
            self.assertEqual((found[name].state, "not needed" in found[name].why), ("ok", True), found)

    async def test_autoscaler(self) -> None:
        """An autoscaler that is down is a failure, which names the client's variable."""
        found = await self.check(VAST_API_KEY="k", VAST_AUTOSCALER_URL=f"http://127.0.0.1:{free_port()}")
        self.assertEqual(found["autoscaler"].state, "failed")
        self.assertIn("VAST_AUTOSCALER_URL", found["autoscaler"].advice)
        self.assertIn("the client finds no worker", found["autoscaler"].why)
        self.assertNotIn("503", found["autoscaler"].why)

    async def test_root(self) -> None:
        """A console without a root is a warning, because only workers with TLS need it."""
        backend = ControlledDeployment(reactor, self.folder, os.environ)
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.stop()))
        await backend.start_backend()
        found = await self.check(VAST_API_KEY="k", VAST_CONSOLE_URL=backend.backend_url)
        self.assertEqual(found["workers' root"].state, "warning")

    async def test_port(self) -> None:
        """A port that is taken is a warning, because a client may run there; 0 is any free one."""
        found = await self.check(VAST_API_KEY="k", VESPA_CLIENT_PORT=self.deployment.autoscaler_url.rpartition(":")[2])
        self.assertEqual(found["port"].state, "warning")
        self.assertIn("another client", found["port"].why)
        found = await self.check(VAST_API_KEY="k", VESPA_CLIENT_PORT="0")
        self.assertEqual(found["port"].why, "any free one")

    async def test_mistakes(self) -> None:
        """Mistakes in the settings are the first thing to correct."""
        found = await self.check(VAST_ENDPOINT="", VESPA_TIMEOUT="x")
        self.assertEqual((found["settings"].state, found["endpoint"].state), ("failed", "skipped"))
