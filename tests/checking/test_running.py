"""Tests of `vespa.checking.running`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet import reactor as typed_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from tests.checking.backends import backend_settings
from tests.fakes import Asked, FakeAgent
from tests.system.certificates import Pair
from vespa.checking.finding import Finding
from vespa.checking.running import RunningCheck, admin_client, admin_places
from vespa.http.resource import serve_resource
from vespa.runtime.http_client import BoundedClient
from vespa.simulator.launch import free_port
from vespa.transport.listen import parse

reactor: Any = typed_reactor
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
        """The default port may have moved; another one is where it is set, also if it is a socket, or has TLS."""
        found = [str(each) for each in admin_places(backend_settings())]
        self.assertEqual(found[:2], ["http://127.0.0.1:9464", "http://127.0.0.1:9465"])
        self.assertEqual(len(found), 16)
        for listen, expected in (
            ("tcp:1234:interface=10.1.2.3", ["http://10.1.2.3:1234"]),
            ("tcp:port=1234", ["http://127.0.0.1:1234"]),
            ("tcp:1234:interface=0.0.0.0", ["http://127.0.0.1:1234"]),
            (r"tcp:1234:interface=\:\:1", ["http://[::1]:1234"]),
            ("tcp6:1234", ["http://[::1]:1234"]),
            ("unix:/run/a.sock", ["unix:/run/a.sock"]),
            ("unix:address=/run/a.sock:mode=600", ["unix:/run/a.sock"]),
            ("ssl:1234", ["https://127.0.0.1:1234"]),
            ("ssl:port=1234:interface=10.1.2.3:privateKey=k", ["https://10.1.2.3:1234"]),
            ("systemd:domain=INET:index=0", []),
            ("unix:", []),
            ("", []),
        ):
            found = [str(each) for each in admin_places(backend_settings(admin_listen=listen))]
            self.assertEqual(found, expected, listen)


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
        check = RunningCheck(lambda place: BoundedClient(self.agent, Clock()), backend_settings(**PUBLIC, **more))
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

    def assert_not_read(self, why: str, **more: Any) -> None:
        (found,) = self.check(**more)
        self.assertEqual((found.what, found.state), ("worker", "skipped"))
        self.assertIn(why, found.why)
        self.assertTrue(found.advice)

    def test_unknown(self) -> None:
        """Where the admin port is not found, or something else is there, the line says where it was looked for."""
        everywhere = "at http://127.0.0.1:9464 and the next 15 ports"
        self.assert_not_read(everywhere)
        self.documents["http://127.0.0.1:9464"] = ["x"]
        self.documents["http://127.0.0.1:9465"] = {**READY, "kind": "client"}
        self.documents["http://127.0.0.1:9466"] = {**READY, "problems": None, "backend_url": "http://other"}
        self.statuses["http://127.0.0.1:9467"] = 500
        self.assert_not_read(everywhere)
        self.assert_not_read("at unix:/run/a.sock", admin_listen="unix:/run/a.sock")

    def test_not_asked(self) -> None:
        """An admin port that is off, or whose setting does not say where it is, is not asked; the line says so."""
        self.assert_not_read("VESPA_ADMIN_LISTEN is off", admin_listen="")
        self.assert_not_read(
            "VESPA_ADMIN_LISTEN=systemd:domain=INET:index=0 does not say where",
            admin_listen="systemd:domain=INET:index=0",
        )
        self.assertEqual(self.agent.asked, [])


class Document(Resource):
    """Answers with the status document of a worker that is ready."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return json.dumps(READY).encode() if request.path == b"/status.json" else b""


class SocketTests(TestCase):
    """Admin ports of each kind, over sockets."""

    async def read_at(self, listen: str) -> Finding:
        """What is found of a worker whose admin port listens at this endpoint; PORT stands for a free port."""
        listen = listen.replace("PORT", str(free_port()))
        server = serve_resource(Document(), reactor)
        port = await parse(reactor, listen).listen(server)
        try:
            check = RunningCheck(partial(admin_client, reactor), backend_settings(**PUBLIC, admin_listen=listen))
            (found,) = await check.run()
        finally:
            await maybeDeferred(port.stopListening)
            ended = server.drain()
            server.abort()
            await ended
        return found

    async def test_kinds(self) -> None:
        """TLS with a certificate for another name, a Unix socket, and IPv6 as far as it is here: each is read."""
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        pair = Pair(folder, ("worker.test",))
        socket = os.path.join(os.path.relpath(folder), "s")  # short: the path of a socket has a limit
        tls = f"ssl:PORT:interface=127.0.0.1:privateKey={pair.key_file}:certKey={pair.cert_file}"
        for listen, shown in (
            ("tcp:PORT:interface=127.0.0.1", "http://127.0.0.1:"),
            (tls, "https://127.0.0.1:"),
            (f"unix:{socket}", f"unix:{socket}"),
            (r"tcp6:PORT:interface=\:\:1", "http://[::1]:"),
        ):
            try:
                found = await self.read_at(listen)
            except CannotListenError:
                self.assertTrue(listen.startswith("tcp6"), listen)
                continue
            self.assertEqual(found.state, "ok", (listen, found.why))
            self.assertIn(f"its status page is {shown}", found.why)
