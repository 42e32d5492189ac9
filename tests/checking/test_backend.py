"""Tests of `vespa.checking.backend`."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.checking.backends import Answer, FakeBackend, backend_settings
from vespa.checking.backend import WELL_KNOWN, BackendCheck, Model, endpoint_of, models_in, server_name
from vespa.checking.finding import Finding
from vespa.runtime.http_client import Response

MODELS = json.dumps({"data": [{"id": "a", "owned_by": "vllm"}, {"id": "b"}]}).encode()


class BackendCase(SynchronousTestCase):
    def check(self, backend: FakeBackend, model: str = "", **settings: object) -> Deferred[list[Finding]]:
        values = backend_settings(**settings)
        check = BackendCheck(backend.clock, values, backend.access(values), backend.endpoint, model=model)
        return Deferred.fromCoroutine(check.run())

    def found(self, answers: dict[str, Answer], model: str = "", **settings: object) -> list[Finding]:
        return self.successResultOf(self.check(FakeBackend(answers), model, **settings))


class ConnectionTests(BackendCase):
    def test_well(self) -> None:
        """A backend that is well is described: address, health, server, model."""
        backend = FakeBackend({"/health": 200, "/v1/models": (200, MODELS)}, server="uvicorn")
        found = self.successResultOf(self.check(backend))
        self.assertEqual(
            [(each.state, each.what) for each in found], [("ok", "backend"), ("ok", "health path"), ("ok", "server")]
        )
        self.assertIn("http://backend.test:8000 accepts connections", found[0].why)
        self.assertIn("GET /health answered 200", found[1].why)
        self.assertEqual(found[2].why, "vLLM (Server: uvicorn), serves a, b")
        self.assertTrue(all(not wire.open for wire in backend.endpoint.wires))

    def test_down(self) -> None:
        """A backend that refuses connections is called down, and its health path is not asked."""
        backend = FakeBackend({})
        backend.endpoint.refusing = True
        down, health = self.successResultOf(self.check(backend))
        self.assertEqual((down.state, down.why), ("failed", "no server listens at backend.test:8000"))
        self.assertIn("VESPA_BACKEND_URL", down.advice)
        self.assertEqual(health.state, "skipped")

    def test_flapping(self) -> None:
        """A backend that is there at the second try only is a failure too."""
        backend = FakeBackend({"/health": 200})
        backend.endpoint.slow = True
        result = self.check(backend)
        backend.clock.advance(2.0)
        self.assertIn("the first connection", self.successResultOf(result)[0].why)

    def test_slow_connection(self) -> None:
        """A backend that takes long to accept is slow."""
        backend = FakeBackend({"/health": 200})
        backend.endpoint.slow = True
        result = self.check(backend)
        backend.clock.advance(1.5)
        backend.endpoint.accept()
        first = self.successResultOf(result)[0]
        self.assertEqual((first.state, first.details["connect_seconds"]), ("warning", 1.5))

    def test_endpoint(self) -> None:
        """The endpoint is that of the backend's URL, whatever the limit of time."""
        backend = FakeBackend({})
        for seconds in (0.0, 2.0):
            settings = backend_settings(backend_connect_timeout=seconds)
            self.assertIsNotNone(endpoint_of(backend.clock, settings, backend.access(settings)))


class HealthTests(BackendCase):
    def test_wrong_path(self) -> None:
        """If the health path is missing, every usual path that answers is named, and the first is advised."""
        _, health = self.found({"/system_stats": 200, "/": 200})
        self.assertEqual((health.state, health.advice), ("failed", "set VESPA_HEALTHCHECK_ENDPOINT=/system_stats"))
        self.assertEqual(health.why, "/health answered 404, but these paths answer: /system_stats, /")
        self.assertEqual(health.details["answering"], ["/system_stats", "/"])

    def test_no_path(self) -> None:
        """If no usual path answers either, that is said."""
        _, health = self.found({})
        self.assertIn("no other usual path answers", health.why)
        self.assertIn("VESPA_HEALTHCHECK_ENDPOINT", health.advice)

    def test_usual_paths(self) -> None:
        """The usual paths are asked for, the configured one not again."""
        backend = FakeBackend({})
        self.successResultOf(self.check(backend, healthcheck_endpoint="/api/tags"))
        asked = {url.removeprefix("http://backend.test:8000") for url in backend.agent.urls}
        self.assertLessEqual(set(WELL_KNOWN), asked)

    def test_erroring(self) -> None:
        """A status that is no 2xx is named, with the probe's own advice."""
        _, health = self.found({"/health": 500})
        self.assertEqual(health.why, "/health answered 500: the backend says that it is not ready")
        self.assertEqual((health.state, health.advice), ("failed", "look at its own log"))

    def test_silent(self) -> None:
        """A health check that is not answered in time fails."""
        backend = FakeBackend({"/health": None})
        result = self.check(backend)
        backend.clock.advance(10.0)
        health = self.successResultOf(result)[1]
        self.assertIn("did not answer within 10 s", health.why)
        self.assertIn("VESPA_HEALTHCHECK_TIMEOUT", health.advice)

    def test_slow(self) -> None:
        """A health check that takes more than a second is a warning."""
        backend = FakeBackend({"/health": 200}, seconds=3.0)
        health = self.successResultOf(self.check(backend))[1]
        self.assertEqual(health.state, "warning")
        self.assertIn("(3.0 s), of the 10 s that VESPA_HEALTHCHECK_TIMEOUT allows", health.why)

    def test_off(self) -> None:
        """Without a health path nothing is asked, and the backend counts as healthy."""
        health = self.found({}, healthcheck_endpoint="")[1]
        self.assertEqual(health.state, "ok")
        self.assertIn("always counts as healthy", health.why)


class ServerTests(BackendCase):
    def test_key_missing(self) -> None:
        """A server whose health is public and whose models are not wants a key, which is the usual mistake."""
        server = self.found({"/health": 200, "/v1/models": 401})[2]
        self.assertEqual((server.state, "requires a key" in server.why), ("failed", True))
        self.assertIn("set VESPA_BACKEND_AUTHORIZATION", server.advice)
        server = self.found({"/health": 200, "/v1/models": 403}, backend_authorization="Bearer k")[2]
        self.assertIn("rejects the key in VESPA_BACKEND_AUTHORIZATION", server.why)

    def test_model_name(self) -> None:
        """A MODEL_NAME that the server does not serve is a warning."""
        answers: dict[str, Answer] = {"/health": 200, "/v1/models": (200, MODELS)}
        self.assertEqual(self.found(answers, "b")[2].state, "ok")
        wrong = self.found(answers, "c")[2]
        self.assertEqual(wrong.state, "warning")
        self.assertIn("MODEL_NAME=c is not among the models that it serves: a, b", wrong.why)

    def test_unknown(self) -> None:
        """A server that does not say what it is has no line."""
        self.assertEqual(len(self.found({"/health": 200})), 2)

    def test_models(self) -> None:
        """Models are read from a list in OpenAI's form; anything else has none."""
        self.assertEqual(models_in(MODELS), [Model("a", "vllm"), Model("b")])
        for body in (b"", b"[]", b'{"data": 1}', b'{"data": [1, {"id": 2}]}', b"[" * 100_000):
            self.assertEqual(models_in(body), [])

    def test_names(self) -> None:
        """The owner of the models tells servers apart that share a framework."""
        listing = Response(200, MODELS, True)
        self.assertEqual(server_name(None, listing), "vLLM")
        self.assertEqual(server_name(None, None), "")
        self.assertEqual(server_name(Response(200, b"", True), Response(404, MODELS, True)), "")
