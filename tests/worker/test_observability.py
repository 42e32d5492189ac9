"""What shows a worker: where it stands among the services, and what readiness means."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_worker_reading import ON_VAST, QUICK_START
from tests.observability.rig import ask_listener
from tests.rig import body, status
from vespa.config.schema import rows
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load
from vespa.observability.admin import AdminListener
from vespa.protocol.refusal import Refusal
from vespa.proxy.listener import Listener
from vespa.transport.descriptors import ADMIN_CONNECTIONS, limit
from vespa.worker.listening import limits
from vespa.worker.observability import readiness
from vespa.worker.service import make_worker


def parts(environ: dict[str, str], **more: Any) -> Any:
    """The parts that readiness looks at, of a worker that is ready."""
    return SimpleNamespace(
        **{
            "settings": load({**environ, "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark"}),
            "reporter": object(),
            "app": SimpleNamespace(admission=SimpleNamespace(unready=lambda: None)),
            "keyring": SimpleNamespace(has_key=True, trouble=""),
            **more,
        }
    )


class ServiceTests(SynchronousTestCase):
    def children(self, **environ: str) -> list[Any]:
        tree: Any = make_worker(MemoryReactorClock(), load({**QUICK_START, **environ}), {})
        return list(tree)

    def test_order(self) -> None:
        """The admin port opens first and closes last, so that it shows how the backend loads and how requests end."""
        children = self.children()
        self.assertIsInstance(children[0], AdminListener)
        self.assertIsInstance(children[-1], Listener)

    def test_off(self) -> None:
        """Without an endpoint there is no admin port."""
        self.assertFalse([each for each in self.children(VESPA_ADMIN_LISTEN="off") if isinstance(each, AdminListener)])

    def test_affinity(self) -> None:
        """A worker with VESPA_AFFINITY counts from the start; one without it has neither sample nor member for it."""
        several = {"VESPA_BACKEND_URL": "http://127.0.0.1:8000,http://127.0.0.1:8001", "VESPA_UNSECURED": "true"}
        for environ, expected in (({**several, "VESPA_AFFINITY": "json:user"}, True), (several, False)):
            listener = self.children(**environ)[0]
            samples, document = (body(ask_listener(listener, target)) for target in ("/metrics", "/status.json"))
            self.assertEqual(b'vespa_affinity_requests_total{result="missing"} 0' in samples, expected)
            self.assertEqual("affinity_missing_total" in json.loads(document), expected)

    def test_descriptors(self) -> None:
        """The connections of the admin port are not given to clients."""
        found = {}
        for endpoint in ("", "off"):
            environ = {**QUICK_START, "VESPA_ADMIN_LISTEN": endpoint, "VESPA_INBOUND_LIMIT": "100000000"}
            found[endpoint] = limits(load(environ)).connections
        self.assertEqual(found["off"] - found[""], ADMIN_CONNECTIONS // 2 if limit() is not None else 0)


class StatusTests(SynchronousTestCase):
    def test_no_secret(self) -> None:
        """With every secret set, neither the document, nor the metrics, nor the page has any of them."""
        secrets = {
            "MASTER_TOKEN": "master-0123456789",
            "VESPA_ADMIN_TOKEN": "admin-0123456789",
            "VESPA_BACKEND_AUTHORIZATION": "Bearer backend-0123456789",
        }
        settings = load({**ON_VAST, **secrets, "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark"})
        self.assertEqual(
            {row.name for row in rows(WorkerSettings) if row.secret and getattr(settings, row.attribute)}, set(secrets)
        )
        tree: Any = make_worker(MemoryReactorClock(), settings, {})
        listener = next(each for each in tree if isinstance(each, AdminListener))
        for target in ("/", "/status.json", "/metrics"):
            response = ask_listener(listener, target, "admin-0123456789")
            self.assertEqual(status(response), 200, target)
            self.assertNotIn(b"0123456789", response, target)
        document = json.loads(body(ask_listener(listener, "/status.json", "admin-0123456789")))
        self.assertEqual((document["kind"], document["public_url"]), ("worker", "http://198.51.100.7:41234"))
        hidden = {row["name"] for row in document["settings"] if row["value"] == "(hidden)"}
        self.assertEqual(hidden, set(secrets))


class ReadinessTests(SynchronousTestCase):
    def test_ready(self) -> None:
        """A worker whose parts are all well is ready."""
        self.assertEqual(readiness(parts(ON_VAST)), (True, ""))

    def test_refusals(self) -> None:
        """What its requests are refused with is the reason: a backend that loads, or the end of the process."""
        refusal = Refusal(503, "not_ready", "the backend is loading: connection refused")
        app = SimpleNamespace(admission=SimpleNamespace(unready=lambda: refusal))
        self.assertEqual(readiness(parts(ON_VAST, app=app)), (False, "the backend is loading: connection refused"))

    def test_no_key(self) -> None:
        """Without the autoscaler's key all signed requests are refused; an unsecured worker needs none."""
        keyring = SimpleNamespace(has_key=False, trouble="")
        is_ready, reason = readiness(parts(ON_VAST, keyring=keyring))
        self.assertEqual((is_ready, reason), (False, "the autoscaler's public key is not fetched yet"))
        keyring = SimpleNamespace(has_key=False, trouble="connection refused")
        self.assertTrue(readiness(parts(ON_VAST, keyring=keyring))[1].endswith("yet: connection refused"))
        self.assertEqual(readiness(parts(QUICK_START, reporter=None, keyring=keyring)), (True, ""))

    def test_unreachable(self) -> None:
        """A worker that reports, but that no client can reach, is not ready."""
        identity = {"CONTAINER_ID": "7", "MASTER_TOKEN": "token", "PUBLIC_IPADDR": "203.0.113.7"}
        is_ready, reason = readiness(parts({**QUICK_START, **identity}))
        self.assertFalse(is_ready)
        self.assertIn("VESPA_UNSECURED=true listens on this machine alone", reason)
        self.assertEqual(readiness(parts({**QUICK_START, **identity}, reporter=None)), (True, ""))
