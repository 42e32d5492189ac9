"""A connection to an upstream from its beginning to its end: its transport, its pool, and how it is lost."""

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
    The part of a connection to an upstream that no message needs. `ClientConnection` is the whole.

    `received` counts reads since the request began, `response_started` says that a final head is in.
    """

    # What is seldom set stands on the class: see `WatchedConnection`.
    transport: Any = None
    _until_close = False
    _paused = False
    _splice: Splice | None = None
    _reset_watch: ResetWatch | None = None

    def __init__(self, pool: ConnectionOwner) -> None:
        self.pool = pool
        self.upstream_name = pool.name
        self.state: ClientState = IDLE
        self.receiver: ResponseReceiver | None = None
        self.sink: Sink | None = None
        """Who takes the response's body; None while its head is awaited."""
        self.reused = False
        self.idle_since = 0.0
        """When the last response ended, while idle and under the next request."""
        self.received = 0
        self.response_started = False
        self.request_complete = True
        self.ordinary = False
        """The request is whole, small, and may have a response with a body; and reading was not paused."""
        self.write_blocked = False
        """The upstream reads too slowly: what is written waits."""
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

    # -- what the receiver asks

    def pause(self) -> None:
        """Stop reading the response: whoever takes it is slow."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.ordinary = False  # its end has to undo this
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()

    def hand_over(self, receiver: ResponseReceiver) -> None:
        """Another receiver takes over, before anything else comes."""
        self.receiver = receiver

    def cancel(self) -> None:
        """The response is not wanted any more: the connection is cut, and nobody hears of it."""
        self._stop_splicing()
        self._stop_reset_watch()
        self.receiver = self.sink = None
        self.state = _after_close[self.state]
        if self.transport is not None:
            self.transport.abortConnection()

    def fail(self, error: UpstreamError) -> None:
        """Give the response up, for what is wrong with it or for a reason such as a timeout; the receiver is told."""
        receiver = self.receiver
        self.cancel()
        if receiver is not None:
            receiver.upstream_failed(error)

    def discard(self) -> None:
        """Close it when all that was written is out: it will not be used again, and nobody hears of it."""
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

    # -- what may be asked about it

    @property
    def held_back(self) -> bool:
        """The response waits for whoever takes it, not for the upstream."""
        return self._paused or (self._splice is not None and self._splice.in_pipe > 0)

    @property
    def progress(self) -> int:
        """Grows whenever something of the response came."""
        return self.received + (self._splice.moved if self._splice is not None else 0)

    @property
    def buffered(self) -> int:
        """How many bytes of the request wait for the upstream to read."""
        return buffered(self.transport)

    def stale(self) -> bool:
        """Whether the upstream has ended this idle connection, or spoken out of turn, and only the kernel knows yet."""
        if self._pending is None:
            self._pending = pending(self.transport)
        return bool(self._pending())

    # -- its end

    def _after_response(self, kept: Mapping[ClientState, ClientState]) -> None:
        """The response is whole: back to the pool, or away."""
        if self._keep_alive and self.request_complete and not buffered(self.transport):
            self.state = kept[self.state]
            self.resume()  # a paused connection in the pool would hang the next request
            self.pool.put(self)
        elif self.request_complete:
            self.discard()
        else:
            self.cancel()

    def _stop_splicing(self) -> None:
        splice, self._splice = self._splice, None
        if splice is not None:
            self.received += 1
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
                # Worth a short wait: a reset that follows says that the request was not read to its end.
                self._reset_watch = ResetWatch(self.pool.clock, self.transport, self._upstream_ended)
                return
        self._upstream_ended(unread)

    def _upstream_ended(self, unread: bool) -> None:
        self._reset_watch = None
        self._lost(f"the {self.pool.name} closed its connection", clean=True, unread=unread)
        self.transport.unregisterProducer()
        if buffered(self.transport):
            self.transport.abortConnection()  # nobody will read the rest
        else:
            self.transport.loseConnection()

    def _stop_reset_watch(self) -> None:
        watch, self._reset_watch = self._reset_watch, None
        if watch is not None:
            watch.cancel()

    def writeConnectionLost(self) -> None:
        """We half-closed."""

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
        """`clean` if what ended may be whole; `unread` if the upstream cannot have read the request to its end."""
        receiver, state = self.receiver, self.state
        self.receiver = self.sink = None
        self.state = _after_close[state]
        if state is IDLE:
            self.pool.closed_idle(self)
        if receiver is None:
            return
        if clean and (state is UPGRADED or (state is RECEIVING and self._until_close)):
            receiver.response_end()
            return
        silent = state is AWAITING and not self.received
        code = "no_reply" if silent else "truncated_reply"
        error = UpstreamError(code, message, silent=silent, unread=silent and unread)
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
        """The transport is gone; connectionLost says the rest."""
