"""A connection to an upstream from its beginning to its end: its transport, its pool, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet import interfaces
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from vespa.http.interfaces import ConnectionOwner, ResponseReceiver, Sink, UpstreamError
from vespa.protocol.connection_state import CLIENT, ClientEvent, ClientState, after
from vespa.transport.errors import TLSTruncated
from vespa.transport.resets import ResetWatch, is_socket, pending, refused_bytes
from vespa.transport.sockets import buffered, half_closes, hides_resets, probe, reader, release, set_no_delay, writer
from vespa.transport.splice import Splice

IDLE, AWAITING, RECEIVING, UPGRADED, CLOSED = ClientState
# To close once more changes nothing.
_after_close: Final = {**after(CLIENT, ClientEvent.CLOSE), CLOSED: CLOSED}


class UpstreamTransport(Protocol):
    """
    The part of a connection to an upstream that does not depend on messages. `ClientConnection` is the whole.

    `received` counts the bytes that came since the request began. `response_started`: a final head has come.
    `longest_gap` is the longest time in seconds between two reads of a stream.
    """

    # Attributes that are rarely set have their default on the class: see `WatchedConnection`.
    transport: Any = None
    longest_gap = read_at = 0.0
    ended_bytes = 0  # of the last response that came in several reads and has ended
    _until_close = False
    _paused = False
    _splice: Splice | None = None
    _reset_watch: ResetWatch | None = None

    def __init__(self, pool: ConnectionOwner) -> None:
        self.pool = pool
        self.state: ClientState = IDLE
        self.receiver: ResponseReceiver | None = None
        self.sink: Sink | None = None  # the receiver of the response's body; None before its head has come
        self.reused = False
        self.idle_since = 0.0  # the time when the last response ended
        self.received = 0
        self.response_started = False
        self.request_complete = True
        self.ordinary = False
        """Whether the request is complete and small, may have a response with a body, and reading was not paused."""
        self.write_blocked = False  # whether the upstream reads too slowly, so that written data waits
        self._keep_alive = False
        self._pending: Callable[[], object] | None = None

    def connectionMade(self) -> None:
        transport = self.transport
        if interfaces.ITCPTransport.providedBy(transport):
            set_no_delay(transport)
            if self.pool.limits.probe_seconds:
                probe(transport, self.pool.limits.probe_seconds)
        self._send = writer(transport)
        reader(transport, self.dataReceived)
        transport.registerProducer(self, True)
        self.pool.opened(self)

    # -- called by the receiver

    def pause(self) -> None:
        """Stop reading the response: its receiver is slow."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.ordinary = False  # so that the end of the response resets this
            self.transport.pauseProducing()

    def resume(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()

    def hand_over(self, receiver: ResponseReceiver) -> None:
        """Replace the receiver before the next call on it."""
        self.receiver = receiver

    def cancel(self) -> None:
        """Cut the connection, because the response is not wanted. No receiver is called."""
        self._stop_splicing()
        self._stop_reset_watch()
        self.receiver = self.sink = None
        self.state = _after_close[self.state]
        if self.transport is not None:
            self.transport.abortConnection()

    def fail(self, error: UpstreamError) -> None:
        """Cut the connection because of an error or a timeout, and tell the receiver."""
        receiver = self.receiver
        self.cancel()
        if receiver is not None:
            receiver.upstream_failed(error)

    def _malformed(self, how: str) -> None:
        self.fail(UpstreamError("bad_reply", f"the {self.pool.name}'s response {how}"))

    def discard(self) -> None:
        """Close the connection when all written data is sent. No receiver is called."""
        self.receiver = self.sink = None
        self.state = _after_close[self.state]
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def half_close(self) -> None:
        """Nothing more will be sent (tunnels)."""
        self.transport.unregisterProducer()
        if half_closes(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    # -- its state

    @property
    def held_back(self) -> bool:
        """Whether the response waits for its receiver, not for the upstream."""
        return self._paused or (self._splice is not None and self._splice.in_pipe > 0)

    @property
    def progress(self) -> int:
        """A number that grows whenever a part of the response comes."""
        return self.received + (self._splice.moved if self._splice is not None else 0)

    @property
    def buffered(self) -> int:
        """The number of bytes of the request that wait for the upstream to read."""
        return buffered(self.transport)

    def stale(self) -> bool:
        """Whether the upstream has closed this idle connection or sent bytes, which only the kernel knows yet."""
        if self._pending is None:
            self._pending = pending(self.transport)
        return bool(self._pending())

    # -- its end

    def _after_response(self, kept: Mapping[ClientState, ClientState]) -> None:
        """The response is complete: return the connection to the pool, or close it."""
        self.ended_bytes = self.received  # the pool may give the connection to the next request within this call
        if self._keep_alive and self.request_complete and not buffered(self.transport):
            self.state = kept[self.state]
            self.resume()  # a paused connection in the pool would block the next request
            self.pool.put(self)
        elif self.request_complete:
            self.discard()
        else:
            self.cancel()

    def _stop_splicing(self) -> None:
        splice, self._splice = self._splice, None
        if splice is not None:
            self.received += splice.moved
            splice.stop()

    def readConnectionLost(self) -> None:
        """The upstream will send no more."""
        if self.state is UPGRADED and self.receiver is not None:
            self.receiver.response_end()
            return
        self._stop_splicing()
        unread = False
        if self.state is AWAITING and not self.received and self.receiver is not None:
            unread = refused_bytes(self.transport)
            if not unread and self.reused and self.receiver.may_retry and is_socket(self.transport):
                # A short wait is worthwhile: a reset now shows that the request was not read to its end.
                self._reset_watch = ResetWatch(self.pool.clock, self.transport, self._upstream_ended)
                return
        self._upstream_ended(unread)

    def _upstream_ended(self, unread: bool) -> None:
        self._reset_watch = None
        self._lost(f"the {self.pool.name} closed its connection", clean=True, unread=unread)
        self.transport.unregisterProducer()
        if buffered(self.transport):
            self.transport.abortConnection()  # the upstream will not read the rest
        else:
            self.transport.loseConnection()

    def _stop_reset_watch(self) -> None:
        watch, self._reset_watch = self._reset_watch, None
        if watch is not None:
            watch.cancel()

    def writeConnectionLost(self) -> None:
        """Called after our own half-close. Nothing to do."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._stop_splicing()
        self._stop_reset_watch()
        release(self.transport)
        self._pending = None
        self.pool.gone(self)
        was_reset = not reason.check(ConnectionDone, TLSTruncated) and not hides_resets(self.transport)
        if was_reset and self.state is IDLE:
            self.pool.idle_lifetime.resets = True
        self._lost(
            f"the connection to the {self.pool.name} was lost: {reason.getErrorMessage()}",
            clean=bool(reason.check(ConnectionDone)),
            unread=was_reset and not self.pool.idle_lifetime.resets,
        )

    def _lost(self, message: str, *, clean: bool, unread: bool) -> None:
        """`clean`: the response may be complete; `unread`: the upstream cannot have read the request to its end."""
        receiver, state = self.receiver, self.state
        self.receiver = self.sink = None
        self.state = _after_close[state]
        if state is IDLE:
            self.pool.closed_idle(self)
        if receiver is None:
            return
        self.ended_bytes = self.received
        if clean and (state is UPGRADED or (state is RECEIVING and self._until_close)):
            receiver.response_end()
            return
        silent = state is AWAITING and not self.received
        code = "no_reply" if silent else "truncated_reply"
        error = UpstreamError(code, message, silent=silent, unread=silent and unread)
        self.pool.counts.lost += 1
        if error.unread and self.reused:
            self.pool.closed_unseen(self)
        else:
            self.pool.trouble(error)
        receiver.upstream_failed(error)

    # -- flow control

    def pauseProducing(self) -> None:
        self.write_blocked = True
        if self.receiver is not None:
            self.receiver.pause_request()

    def resumeProducing(self) -> None:
        self.write_blocked = False
        if self.receiver is not None:
            self.receiver.resume_request()

    def stopProducing(self) -> None:
        """The transport is gone. connectionLost does the work."""
