"""A refusal reaches a client that is still sending, over real sockets, by a client that sends all before it reads."""

from __future__ import annotations

import http.client
import ssl
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.transport.tls_peer import client_context, reactor, until, write_certificate
from vespa.http.interfaces import RequestHandler
from vespa.http.server import Server
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.transport.listen import parse

UPLOAD = 20_000_000


class _Refusing:
    """Refuses a request at the first bytes of its body."""

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self._client = client

    def receive(self, data: bytes, complete: bool) -> None:
        if complete:
            raise AssertionError("the body was refused")
        if data:
            self._client.refuse(Refusal(422, "invalid_envelope", "the body is not a JSON object"))

    def hang_up(self) -> None:
        """It left."""

    def pause(self) -> None:
        """It is slow."""

    def resume(self) -> None:
        """It caught up."""

    verified = True

    def held_bytes(self, received: int) -> int:
        return 0

    def drop_replay(self) -> None:
        """There is nothing to let go of."""


def _refuse_head(client: ServerConnection, head: RequestHead) -> RequestHandler:
    raise Refusal(401, "bad_signature", "the request is not signed")


class Uploads(TestCase):
    """http.client writes the whole body before it reads, and hears a reset as EPIPE."""

    timeout = 30

    async def _serve(self, application: Any, description: str) -> int:
        self.server = Server(application, reactor)
        port: Any = await parse(reactor, description).listen(self.server)
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: until(lambda: not self.server.connections))
        return int(port.getHost().port)

    def _upload(self, port: int, context: ssl.SSLContext | None, extra: dict[str, str]) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection
        if context is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        try:
            connection.request("POST", "/", bytes(UPLOAD), extra)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    async def test_plain(self) -> None:
        """Refused by its head, in its body, and for a field that is malformed: the response is read each time."""
        for application, status, extra in (
            (_refuse_head, 401, {}),
            (_Refusing, 422, {}),
            (_Refusing, 400, {"Host": "a b"}),
        ):
            port = await self._serve(application, "tcp:0:interface=127.0.0.1")
            got, body = await deferToThread(self._upload, port, None, extra)
            self.assertEqual(got, status)
            self.assertIn(b'"error"', body)

    async def test_tls(self) -> None:
        """The same over TLS."""
        certificate, key = write_certificate(self.mktemp())
        for application, status in ((_refuse_head, 401), (_Refusing, 422)):
            description = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
            port = await self._serve(application, description)
            got, _ = await deferToThread(self._upload, port, client_context(certificate), {})
            self.assertEqual(got, status)
