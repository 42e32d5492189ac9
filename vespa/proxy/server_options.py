"""What any of our servers answers about itself; apart from the door, because Klein imports the global reactor."""

from __future__ import annotations

from typing import Final

from vespa.http.head import ALLOW
from vespa.http.request import NONE, ServerRequest

_METHODS: Final = b"Allow: %b\r\n" % ALLOW.encode("ascii")


class ServerOptions:
    """`OPTIONS *` asks about the server, which is us (RFC 9110 9.3.7)."""

    def __init__(self, request: ServerRequest) -> None:
        self._request = request
        request.permit()

    def body(self, data: bytes) -> None:
        """Of no meaning here."""

    def end(self) -> None:
        self._request.start(204, _METHODS, NONE)
        self._request.finish()

    def gone(self) -> None:
        """Nothing is under way."""

    def pause(self) -> None:
        """Nothing is under way."""

    def resume(self) -> None:
        """Nothing is under way."""

    @property
    def verified(self) -> bool:
        """Nobody asks who it is."""
        return False

    def held(self, received: int) -> int:
        return 0

    def slim(self) -> None:
        """There is nothing to let go of."""
