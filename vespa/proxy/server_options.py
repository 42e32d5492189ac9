"""What any of our servers answers about itself; apart from the door, because Klein imports the global reactor."""

from __future__ import annotations

from typing import Final

from vespa.http.server_request import NONE
from vespa.protocol.heads import ALLOW
from vespa.proxy.local_response import LocalResponse

_METHODS: Final = b"Allow: %b\r\n" % ALLOW.encode("ascii")


class ServerOptions(LocalResponse):
    """`OPTIONS *` asks about the server, which is us (RFC 9110 9.3.7)."""

    def end(self) -> None:
        """Say which methods there are."""
        self._request.start(204, _METHODS, NONE)
        self._request.finish()
