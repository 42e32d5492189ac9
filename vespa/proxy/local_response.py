"""What a response that we make ourselves, from a request's head alone, has to do for the server: nothing."""

from __future__ import annotations

from vespa.http.server_request import ServerRequest


class LocalResponse:
    """The `Receiver` of such a request; a subclass responds in `end`. The body has no meaning, and is not kept."""

    verified = False
    """Nobody asks who sent it, so a body has to come at a pace."""

    def __init__(self, request: ServerRequest) -> None:
        self._request = request
        request.send_continue()

    def body(self, data: bytes) -> None:
        """Of no meaning here."""

    def end(self) -> None:
        """Respond: the request is whole."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Nothing is under way."""

    def pause(self) -> None:
        """Nothing is under way."""

    def resume(self) -> None:
        """Nothing is under way."""

    def held(self, received: int) -> int:
        """Nothing is kept."""
        return 0

    def release_memory(self) -> None:
        """There is nothing to let go of."""
