"""Which model is served, as the backend tells it."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource

from vespa.runtime.http_client import BoundedClient
from vespa.worker.readiness.served_model import LONGEST, ServedModel, told


class Models(Resource):
    isLeaf = True
    status = 200
    answer: Any = None
    key: str | None = ""

    def render(self, request: Request) -> bytes:
        self.key = request.getHeader("Authorization")
        request.setResponseCode(self.status)
        return json.dumps(self.answer).encode()


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "created": 1, "permission": [{"id": "x"}], **more}


class ServedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.models = Models()
        self.agent = RequestTraversalAgent(self.models)

    def served(self, name: str = "") -> str:
        http = BoundedClient(self.agent, Clock(), {"Authorization": "Bearer k"})
        model = ServedModel(http, "http://b/v1/models", timeout=5.0, name=name)
        fired = Deferred.fromCoroutine(model())
        self.agent.flush()
        text: str = self.successResultOf(fired)
        return text

    def test_told(self) -> None:
        """The same text for the same model after a new start; another for another, or for other files of that name."""
        self.models.answer = {"data": [entry("tiny", root="/models/a")]}
        first = self.served()
        self.assertIn("tiny", first)
        self.assertEqual(self.models.key, "Bearer k")
        self.models.answer = {"data": [{**entry("tiny", root="/models/a"), "created": 2, "permission": [{"id": "y"}]}]}
        self.assertEqual(self.served(), first)
        for other in (entry("big", root="/models/a"), entry("tiny", root="/models/b"), entry("tiny", meta={"size": 2})):
            self.models.answer = {"data": [other]}
            self.assertNotEqual(self.served(), first)

    def test_named(self) -> None:
        """Of several models, the chosen one is compared."""
        self.models.answer = {"data": [entry("a"), entry("b")]}
        self.assertIn("a", self.served())
        self.assertIn("b", self.served("b"))
        self.assertEqual(self.served("c"), "")

    def test_not_told(self) -> None:
        """A backend that tells nothing is no error."""
        for self.models.answer in (None, [], {}, {"data": None}, {"data": []}, {"data": ["a"]}, {"data": 5}):
            self.assertEqual(self.served(), "")
        self.models.answer, self.models.status = {"data": [entry("a")]}, 404
        self.assertEqual(self.served(), "")
        self.assertEqual(told(b"[" * 60000, ""), "")

    def test_long(self) -> None:
        """However much it tells, little is kept."""
        text = told(json.dumps({"data": [entry("a" * 5000)]}).encode(), "")
        self.assertLess(len(text), LONGEST)
        self.assertNotEqual(text, told(json.dumps({"data": [entry("a" * 5001)]}).encode(), ""))
