"""The handler of a request that Vespa answers itself, from its head alone."""

from __future__ import annotations

from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead


class LocalResponse:
    """A `RequestHandler` whose subclasses respond in `respond`. It drops the request's body."""

    verified = False  # nothing verifies the sender, so a body needs a minimum rate

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self.client = client
        self.head = head

    def receive(self, data: bytes, complete: bool) -> None:
        """Drop the body, and respond when the request is complete."""
        if complete:
            self.respond()
        else:
            self.client.send_continue()

    def respond(self) -> None:
        """Respond. The request is complete."""
        raise NotImplementedError

    def hang_up(self, refusal: Refusal | None = None) -> None:
        """Nothing to do."""

    def pause(self) -> None:
        """Nothing to do: the response is short."""

    resume = drop_replay = pause

    def held_bytes(self, received: int) -> int:
        return 0
