"""The objects that the service makes from the settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.worker_reading import load
from vespa.worker.service import unreachable

UNSECURED = {
    "VESPA_BACKEND_URL": "http://localhost:8000",
    "VESPA_UNSECURED": "true",
    "VESPA_WORKER_PORT": "28003",
    "CONTAINER_ID": "7",
    "MASTER_TOKEN": "token",
    "PUBLIC_IPADDR": "203.0.113.7",
}


class UnreachableTests(SynchronousTestCase):
    def test_loopback_only(self) -> None:
        """A worker on Vast that listens on loopback is reached by no client; its error names the port."""
        problem = unreachable(load(UNSECURED))
        self.assertIn("at port 28003", problem)
        self.assertIn("unset VESPA_UNSECURED", problem)

    def test_reachable(self) -> None:
        """Clients can reach a worker that is public, has a loopback address, or listens at an endpoint string."""
        for changes in (
            {"VESPA_UNSECURED_PUBLIC": "true"},
            {"PUBLIC_IPADDR": "127.0.0.1"},
            {"VESPA_LISTEN": "unix:/run/vespa.sock"},
        ):
            self.assertEqual(unreachable(load({**UNSECURED, **changes})), "")
