"""Tests of `vespa.checking.running`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.checking.backends import backend_settings
from tests.fakes import Asked, FakeAgent
from vespa.checking.finding import Finding
from vespa.checking.running import RunningCheck, admin_urls
from vespa.runtime.http_client import BoundedClient

PUBLIC = {"public_ipaddr": "203.0.113.7", "public_port": 31000}
URL = "http://203.0.113.7:31000"
READY: Mapping[str, Any] = {
    "kind": "worker",
    "public_url": URL,
    "backend_url": "http://backend.test:8000",
    "state": "ready",
    "state_reason": "",
    "problems": [],
}


class URLTests(SynchronousTestCase):
    def test_urls(self) -> None:
        """The default port may have moved; another one is where it is set; a socket, TLS or off has none."""
        found = admin_urls(backend_settings())
        self.assertEqual(found[:2], ["http://127.0.0.1:9464", "http://127.0.0.1:9465"])
        self.assertEqual(len(found), 16)
        for listen, expected in (
            ("tcp:1234:interface=10.1.2.3", ["http://10.1.2.3:1234"]),
            ("tcp:port=1234", ["http://127.0.0.1:1234"]),
            ("unix:/run/a.sock", []),
            ("ssl:1234", []),
            ("", []),
        ):
            self.assertEqual(admin_urls(backend_settings(admin_listen=listen)), expected)


class RunningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agent = FakeAgent(self.answer)
        self.documents: dict[str, Any] = {}
        self.statuses: dict[str, int] = {}

    def answer(self, asked: Asked) -> None:
        url = asked.url.removesuffix("/status.json")
        if url in self.statuses:
            asked.answer(self.statuses[url])
        elif url in self.documents:
            asked.answer(200, json.dumps(self.documents[url]).encode())
        else:
            asked.fail(ConnectionRefusedError())

    def check(self, **more: Any) -> list[Finding]:
        check = RunningCheck(BoundedClient(self.agent, Clock()), backend_settings(**PUBLIC, **more))
        return self.successResultOf(Deferred.fromCoroutine(check.run()))

    def test_ready(self) -> None:
        """A ready worker is right, also where its port has moved, and its status page is named."""
        self.documents["http://127.0.0.1:9464"] = {**READY, "public_url": "http://203.0.113.7:31001"}
        self.documents["http://127.0.0.1:9466"] = READY
        (found,) = self.check()
        self.assertEqual((found.state, found.why), ("ok", "it is ready; its status page is http://127.0.0.1:9466"))

    def test_not_ready(self) -> None:
        """Another state is shown with its reason: errored is a failure, others are a warning."""
        for state, expected in (("errored", "failed"), ("loading", "warning"), ("suspect", "warning")):
            self.documents["http://127.0.0.1:9464"] = {**READY, "state": state, "state_reason": "no server\x1b listens"}
            (found,) = self.check()
            self.assertEqual(found.state, expected)
            self.assertEqual(found.why, f"it is not ready: {state}, no server  listens")

    def test_problems(self) -> None:
        """Each problem that the worker sees is a line."""
        problems = [{"severity": "error", "text": "No key."}, {"severity": "warning", "text": "Late."}, "x"]
        self.documents["http://127.0.0.1:9464"] = {**READY, "problems": problems}
        found = self.check()
        self.assertEqual([each.state for each in found], ["ok", "failed", "warning"])
        self.assertEqual([each.why for each in found[1:]], ["it says: No key.", "it says: Late."])

    def test_token(self) -> None:
        """The token is sent; without the right one the status is not read."""
        self.statuses["http://127.0.0.1:9464"] = 401
        (found,) = self.check(admin_token="a-token")
        self.assertEqual((found.state, "VESPA_ADMIN_TOKEN" in found.advice), ("skipped", True))
        headers = {str(asked.headers.getRawHeaders("authorization")) for asked in self.agent.asked}
        self.assertEqual(headers, {"['Bearer a-token']"})

    def test_unknown(self) -> None:
        """Without an admin port, or with something else there, there is no line."""
        self.assertEqual(self.check(), [])
        self.documents["http://127.0.0.1:9464"] = ["x"]
        self.documents["http://127.0.0.1:9465"] = {**READY, "kind": "client"}
        self.documents["http://127.0.0.1:9466"] = {**READY, "problems": None, "backend_url": "http://other"}
        self.statuses["http://127.0.0.1:9467"] = 500
        self.assertEqual(self.check(), [])
