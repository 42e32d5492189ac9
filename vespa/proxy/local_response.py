"""What handles a request that we respond to ourselves, from its head alone."""

from __future__ import annotations

from vespa.http.server_connection import ServerConnection
from vespa.protocol.request_head import RequestHead


class LocalResponse:
    """A `RequestHandler`; a subclass responds in `respond`. The request's body has no meaning, and is not kept."""

    verified = False
    """Nobody asks who sent it, so a body has to come at a pace."""

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self.client = client
        self.head = head

    def receive(self, data: bytes, complete: bool) -> None:
        """Of no meaning here; when the request is whole there is a response."""
        if complete:
            self.respond()
        else:
            self.client.send_continue()

    def respond(self) -> None:
        """Respond: the request is whole."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Nothing is under way, and nothing is kept."""

    pause = resume = drop_replay = hang_up

    def held_bytes(self, received: int) -> int:
        """Nothing is kept."""
        return 0
