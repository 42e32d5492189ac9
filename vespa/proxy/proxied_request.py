"""What an exchange is made of, what it holds in memory, and what is known of it at its end."""

from __future__ import annotations

from typing import Any, Final

from vespa.accounting.lifecycle import CONNECTING, HANG_UP, READING, Event, State
from vespa.http.client_connection import ClientConnection
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import ResponseReceiver
from vespa.http.server_connection import ServerConnection
from vespa.protocol.connection_state import ServerState
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.app import App
from vespa.proxy.held_response import HeldResponse
from vespa.proxy.interfaces import EarlyResponse, ResponseReader
from vespa.proxy.request_body import HeldBody
from vespa.proxy.upstream_deadlines import UpstreamDeadlines

PATH_MAX: Final = 256
"""The longest path that is logged, in characters."""


class ProxiedRequest(ResponseReceiver):
    """The data of an exchange, which is the ledger's `Entry`, its memory, and how it ended."""

    # Most requests never set these. A default on the class costs nothing.
    body: HeldBody | None = None  # a body that comes in several reads
    early: EarlyResponse | None = None  # the response, if it began before the upstream's
    body_prefix = body_suffix = b""  # bytes that surround the body for the upstream
    upgrade = b""  # the offered protocols that may be passed on
    selection: Any = None  # the state of the upstream selector for this exchange
    request_idx: int | None = None
    freed = 0  # millionths of its work that are no longer in the load
    measured: int | None = None  # the work that the backend did
    first_byte_at = ended_at = 0.0
    arrived_at = sent_at = 0.0  # when the head came, and when the request was sent, if `ServerTiming` is on
    queued_again_at = 0.0  # when it began to wait for a slot once more, because its backend broke
    connect_seconds = 0.0  # 0.0 for a kept connection
    longest_gap = 0.0  # seconds between two reads of a stream
    attempts = 1  # the number of upstreams that it was sent to, one after the other
    status = 0  # of the response; 0 if none was sent
    request_id = ""
    code = origin = ""  # why it failed, and who caused it
    bytes_in = bytes_out = 0
    """With heads and framing, as they came from the client and from the upstream; of a whole response that passes as
    content (`content_only`) its content alone."""
    stop: Any = None  # how to stop the backend's work for it, if the connection's end does not
    session: Any = None  # the worker's session that it is in
    backend: Any = None  # which of several backends it is at
    response_head: ResponseHead | None = None  # of a response that has begun, if streams end with an error event
    held: HeldResponse | None = None  # a response that has no byte of its body yet, if callers wait for the first
    reader: ResponseReader | None = None  # what looks at the response
    _deadlines: UpstreamDeadlines | None = None
    _has_payload = True  # it has not been dropped
    _has_ends = False  # the end needs more than that of most requests
    _claimed = False  # counted among the upgraded connections

    def __init__(self, app: App, client: ServerConnection, head: RequestHead) -> None:
        """`client` is the connection of the request."""
        self.app = app
        self.client = client
        self.head = head
        self.state: State = READING
        self.content: Any = None
        self.payload = b""
        """The body, if it came in one read. It is kept until a response begins, because it may be sent again."""
        self.pool: ConnectionPool | None = None
        self.upstream: ClientConnection | None = None  # the connection on which the request was sent
        self.work = 0
        self.received_at = self.started_at = 0.0

    @property
    def whole_payload(self) -> bytes:
        """The body before it is sent, if all of it has come, in however many reads; otherwise b""."""
        return self.payload or (self.body.whole if self.body is not None else b"")

    # -- memory

    @property
    def verified(self) -> bool:
        """Whether the sender of the request is known, or nothing verifies senders."""
        return self.state != READING or not self.app.verifies

    def held_bytes(self, received: int) -> int:
        """The bytes of the body while it is read; afterwards the bytes not sent yet, or kept for a second attempt."""
        if self.state == READING:
            return received
        held = len(self.payload) + (self.body.held_bytes if self.body is not None else 0)
        return held + (self.upstream.buffered if self.upstream is not None else 0)

    def drop_replay(self) -> None:
        """Give up the bytes for another attempt."""
        if self.upstream is not None:
            self._drop_payload()
            if self.body is not None:
                self.body.drop_replay()

    @property
    def _replayable(self) -> bool:
        """Whether all of the body so far is kept, and no response was passed on."""
        if self.state != CONNECTING:
            return False
        return self._has_payload if self.body is None else self.body.replayable

    def _drop_payload(self) -> None:
        self.payload = b""
        self._has_payload = False

    # -- its end

    def _count_response(self, upstream: ClientConnection) -> None:
        """The response has ended: keep what its connection knows of it."""
        self.bytes_out = upstream.received
        if upstream.response_started:
            self.longest_gap = upstream.longest_gap

    def _count_request(self) -> None:
        """The request's body came in several reads, of which the connection knows the sum."""
        client = self.client
        self.bytes_in = client.head_size + client.body_received

    def _conclude(self, event: Event, refusal: Refusal | None) -> None:
        """Keep why it ended otherwise than with a whole response."""
        if self.body is not None or not self.bytes_in:
            self._count_request()
        if not self.client.started:
            self.status = refusal.status if refusal is not None and self.client.state is not ServerState.CLOSED else 0
        elif self.early is not None and not self.first_byte_at:
            # Comments began it as a 200. An error follows as an event, which has its status.
            self.status = refusal.status if refusal is not None else 200
        if refusal is not None:
            self.code, self.origin = refusal.code, refusal.origin
        elif event is HANG_UP:
            self.origin = "client"

    # -- for those who look at ended requests

    @property
    def peer(self) -> str:
        """The client's address; "" if it has none."""
        return self.client.peer

    @property
    def upstream_name(self) -> str:
        """What its upstream is called: backend or worker; "" before it was selected."""
        return self.pool.name if self.pool is not None else ""

    @property
    def upstream_address(self) -> str:
        """The address of its last upstream; "" if there is only one."""
        return self.pool.address if self.pool is not None else ""

    @property
    def method(self) -> str:
        return self.head.method.decode("ascii")

    @property
    def path(self) -> str:
        """The beginning of its path, without the query, which may hold a signature."""
        return self.head.target.partition(b"?")[0][:PATH_MAX].decode("ascii", "replace")
