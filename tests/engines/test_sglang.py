"""Requests of SGLang are stopped by their own id, and by nothing that could be another's."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.engines.asking import Asked
from vespa.engines.interface import EngineRequest, EngineResponse, Stop, UnexpectedResponse
from vespa.engines.sglang import MOST_IDS, SGLang

ID = "0123456789abcdef"


def begin(payload: object, method: str = "POST") -> Stop | None:
    return SGLang().begin(EngineRequest(method, "/generate", json.dumps(payload).encode()))


class SGLangTests(SynchronousTestCase):
    def stop(self, payload: object, status: int = 200) -> list[tuple[str, str, object]]:
        stop = begin(payload)
        assert stop is not None
        self.assertFalse(stop.needs_response)
        backend = Asked(abort_request=EngineResponse(status))
        self.stopped = Deferred.fromCoroutine(stop.stop(backend, None))
        return backend.asked

    def test_id(self) -> None:
        """One call for each id."""
        call = ("POST", "/abort_request", {"rid": ID})
        self.assertEqual(self.stop({"text": "x", "rid": ID}), [call])
        self.successResultOf(self.stopped)
        self.assertEqual(self.stop({"rid": [ID, 7, "short", ID + "2"]}), [call, (*call[:2], {"rid": ID + "2"})])
        self.assertEqual(len(self.stop({"rid": [ID] * 1000})), MOST_IDS)

    def test_nothing_to_stop(self) -> None:
        """Without an id, or with one that others' ids may begin with, closing the connection has to do."""
        for payload in (
            {"text": "x"},
            {"text": '"rid"'},
            {"rid": ""},
            {"rid": ID[:15]},
            {"rid": 7},
            {"rid": None},
            ["rid"],
        ):
            self.assertIsNone(begin(payload), payload)
        self.assertIsNone(begin({"rid": ID}, "GET"))
        self.assertIsNone(SGLang().begin(EngineRequest("POST", "/generate", b'{"rid": "' + ID.encode())))
        self.assertIsNone(SGLang().begin(EngineRequest("POST", "/generate")))

    def test_refused(self) -> None:
        """A server that does not know the route is told apart."""
        self.stop({"rid": ID}, 404)
        self.failureResultOf(self.stopped, UnexpectedResponse)
