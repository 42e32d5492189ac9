"""Laws of the worker's port: whom it lets in, and what it limits."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_worker_reading import ON_VAST, QUICK_START
from vespa.config.worker_reading import load
from vespa.transport.splice import Pipes
from vespa.worker.listening import guard, limits


class GuardTests(SynchronousTestCase):
    def test_needed(self) -> None:
        """Only an unsecured worker that a browser of this machine can reach needs the guard."""
        for environ, needed in (
            (QUICK_START, True),
            ({**QUICK_START, "VESPA_LISTEN": "tcp:3000"}, True),
            ({**QUICK_START, "VESPA_LISTEN": "unix:/run/vespa.sock"}, False),
            ({**QUICK_START, "VESPA_UNSECURED_PUBLIC": "true"}, False),
            (ON_VAST, False),
        ):
            self.assertEqual(guard(load(environ)) is not None, needed, environ)


class LimitsTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Each limit is its setting; upgrades are compared in lower case."""
        self.patch(Pipes, "most", Pipes.most)
        environ = {
            "VESPA_HEAD_LIMIT": "2000",
            "VESPA_UPGRADES": "WebSocket",
            "VESPA_HEAD_TIMEOUT": "3",
            "VESPA_INBOUND_LIMIT_PER_ADDRESS": "9",
        }
        found = limits(load({**QUICK_START, **environ}))
        self.assertEqual((found.head_bytes, found.head_seconds), (2000, 3.0))
        self.assertEqual((found.upgrades, found.connections_per_address), (frozenset({b"websocket"}), 9))
