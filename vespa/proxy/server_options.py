"""The response to `OPTIONS *`; not among the worker's routes, because Klein imports the global reactor."""

from __future__ import annotations

from typing import Final

from vespa.protocol.request_target import ALLOW
from vespa.protocol.response_head import NO_BODY
from vespa.proxy.local_response import LocalResponse

_METHODS: Final = b"Allow: %b\r\n" % ALLOW.encode("ascii")


class ServerOptions(LocalResponse):
    """`OPTIONS *` asks about the server itself (RFC 9110 9.3.7)."""

    def respond(self) -> None:
        self.client.start(204, _METHODS, NO_BODY)
        self.client.finish()
