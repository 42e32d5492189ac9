"""What shows a client proxy: where it stands among the services, and what readiness means."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.observability.rig import ask_listener
from tests.rig import body, status
from vespa.client.observability import readiness
from vespa.client.service import make_client
from vespa.config.client import ClientSettings
from vespa.config.schema import rows
from vespa.observability.admin import AdminListener


class ServiceTests(SynchronousTestCase):
    def children(self, **settings: Any) -> list[Any]:
        tree: Any = make_client(MemoryReactorClock(), ClientSettings(endpoint="demo", endpoint_key="key", **settings))
        return list(tree)

    def test_order(self) -> None:
        """The admin port opens first and closes last."""
        tree: Any = make_client(MemoryReactorClock(), ClientSettings(endpoint="demo", endpoint_key="key"))
        self.assertIs(list(tree)[0], tree.admin)
        self.assertEqual(tree.status_page, "")
        tree.admin.startService()
        self.assertEqual(tree.status_page, "http://127.0.0.1:9465")

    def test_off(self) -> None:
        """Without an endpoint there is no admin port."""
        self.assertFalse([each for each in self.children(admin_listen="off") if isinstance(each, AdminListener)])


class StatusTests(SynchronousTestCase):
    def test_no_secret(self) -> None:
        """With every secret set, neither the document, nor the metrics, nor the page has any of them."""
        names = [row.attribute for row in rows(ClientSettings) if row.secret]
        secrets: dict[str, Any] = {name: f"{name}-0123456789" for name in names}
        tree: Any = make_client(MemoryReactorClock(), ClientSettings(endpoint="demo", **secrets))
        listener = next(each for each in tree if isinstance(each, AdminListener))
        for target in ("/", "/status.json", "/metrics"):
            response = ask_listener(listener, target, secrets["admin_token"])
            self.assertEqual(status(response), 200, target)
            self.assertNotIn(b"0123456789", response, target)
        document = json.loads(body(ask_listener(listener, "/status.json", secrets["admin_token"])))
        self.assertEqual((document["kind"], document["endpoint"]), ("client", "demo"))
        hidden = [row["name"] for row in document["settings"] if row["value"] == "(hidden)"]
        self.assertEqual(len(hidden), len(names))


class ReadinessTests(SynchronousTestCase):
    def check(self, *, port: int | None = 8010, is_draining: bool = False) -> tuple[bool, str]:
        parts: Any = SimpleNamespace(app=SimpleNamespace(is_draining=is_draining), listening=SimpleNamespace(port=port))
        return readiness(parts)

    def test_states(self) -> None:
        """It is ready while its port is open and it does not stop."""
        self.assertEqual(self.check(), (True, ""))
        self.assertEqual(self.check(port=None), (False, "the proxy's port is not open"))
        self.assertEqual(self.check(is_draining=True), (False, "the server is shutting down"))
