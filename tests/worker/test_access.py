"""Tests of `vespa.worker.access`."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.worker_reading import load
from vespa.worker.access import autoscaler_access, backend_access

BACKEND = {"VESPA_BACKEND_URL": "http://backend.test:8000/api", "VESPA_UNSECURED": "true"}


class BackendTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """The backend's base URL has its prefix, and questions of the worker's own carry the backend's key."""
        settings = load({**BACKEND, "VESPA_BACKEND_AUTHORIZATION": "Bearer k"})
        backend = backend_access(reactor, settings, {})
        self.assertEqual(backend.base, "http://backend.test:8000/api")
        self.assertEqual(backend.http.headers, {"Authorization": "Bearer k"})
        self.assertIsNotNone(backend.probe)

    def test_no_probe(self) -> None:
        """Without a health path there is no probe."""
        settings = load({**BACKEND, "VESPA_HEALTHCHECK_ENDPOINT": "off"})
        self.assertIsNone(backend_access(reactor, settings, {}).probe)

    def test_roots(self) -> None:
        """A file of roots that holds none is an error."""
        settings = load({**BACKEND, "VESPA_BACKEND_CA_FILE": __file__})
        self.assertRaises(ValueError, backend_access, reactor, settings, {})


class AutoscalerTests(SynchronousTestCase):
    def test_no_reports(self) -> None:
        """A worker that Vast has not given an identity calls no autoscaler."""
        autoscaler, agent = autoscaler_access(reactor, load(BACKEND))
        posted = Deferred.fromCoroutine(autoscaler.post("/worker_status/", b"{}"))
        self.assertTrue(self.successResultOf(posted))
        agent.close()
