"""The plain port for the backend's own requests, in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.rig import OK, Wire, post
from tests.worker.requests import auth
from tests.worker.sessions.session_rig import SessionRig, refusal, result
from vespa.worker.sessions.port import SessionPort
from vespa.worker.sessions.setup import serve_sessions


class Taken(MemoryReactorClock):
    """A machine on which another program has the port."""

    def listenTCP(self, *arguments: Any, **named: Any) -> Any:
        raise CannotListenError("127.0.0.1", 3001, OSError(98, "Address already in use"))


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = SessionRig()
        self.reactor = MemoryReactorClock()
        self.lines: list[str] = []
        observe_log(self, lambda event: self.lines.append(formatEvent(event)))

    def start(self, port: int = 3001) -> SessionPort:
        made: Any = serve_sessions(self.reactor, port, self.rig.app, self.rig.sessions)[0]
        plain: SessionPort = made
        plain.startService()
        return plain

    def ask(self, plain: SessionPort, data: bytes) -> Wire:
        wire = Wire(IPv4Address("TCP", "127.0.0.1", 40000))
        wire.attach(plain.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
        wire.send(data)
        return wire

    def end(self, plain: SessionPort, session_id: str, **changes: object) -> Wire:
        members = {"session_id": session_id, "session_auth": auth(**changes)}
        return self.ask(plain, post(json.dumps(members).encode(), b"/session/end"))

    def test_opens_with_the_first_session(self) -> None:
        """It listens from the first session on, for this machine only, and once."""
        self.start()
        self.assertEqual(self.reactor.tcpServers, [])
        self.rig.create(request_idx=1)
        self.rig.create(request_idx=2)
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (3001, "127.0.0.1"))

    def test_off(self) -> None:
        """Without a port there are sessions all the same."""
        services = serve_sessions(self.reactor, 0, self.rig.app, self.rig.sessions)
        self.assertEqual(len(services), 1)
        self.rig.create()
        self.assertEqual(self.reactor.tcpServers, [])

    def test_taken(self) -> None:
        """A taken port is one warning that names the setting; the session is there."""
        self.reactor = Taken()
        plain = self.start()
        for idx in range(2):
            self.rig.create(request_idx=idx)
        (line,) = [line for line in self.lines if "3001" in line]
        self.assertIn("VESPA_HTTP_PORT", line)
        self.assertIn("the backend cannot end sessions by itself", line)
        self.assertIsNone(plain.port)
        self.successResultOf(plain.stopService())

    def test_ends(self) -> None:
        """The backend ends a session with what its caller knows. It need not wait for its own answer to the end."""
        plain = self.start()
        session_id = self.rig.create({"on_close_route": "/end"})
        self.assertEqual(refusal(self.end(plain, session_id, reqnum=8)), (401, "bad_session_auth"))
        client = self.end(plain, session_id)
        self.rig.clock.advance(0)
        self.assertEqual(result(client), (200, {"ended": True, "removed_session": session_id}))
        self.rig.backend.wire.send(OK)
        self.assertTrue(self.rig.settled())
        self.assertEqual(refusal(self.end(plain, session_id)), (400, "invalid_session"))

    def test_nothing_else(self) -> None:
        """There is no other route: neither the backend's, nor the worker's own."""
        plain = self.start()
        for path in (b"/", b"/v1", b"/ping", b"/session/create", b"/session/get", b"/pyworker/update"):
            self.assertEqual(refusal(self.ask(plain, post(b"{}", path))), (404, "not_found"))
        self.assertEqual(refusal(self.ask(plain, b"GET /session/end HTTP/1.1\r\nHost: w\r\n\r\n"))[0], 405)
        self.assertEqual(self.rig.backend.wires, [])

    def test_connections(self) -> None:
        """It holds thirty-two connections; an idle one makes room for another."""
        plain = self.start()
        for _ in range(40):
            wire = Wire(IPv4Address("TCP", "127.0.0.1", 40000))
            wire.attach(plain.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
        self.assertEqual(len(plain.server.connections), 32)

    def test_stop(self) -> None:
        """At the stop the port and its connections are closed, and no later session opens it."""
        plain = self.start()
        self.rig.create(request_idx=1)
        wire = self.ask(plain, b"POST /session/end HTTP/1.1\r\n")
        self.successResultOf(plain.stopService())
        self.assertFalse(wire.open)
        other = SessionPort(self.reactor, 3002, plain.server.application)
        other.open()
        self.assertEqual(len(self.reactor.tcpServers), 1, "it never listens before its start")
