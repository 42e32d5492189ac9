"""The connection after a 101: two ends speak a protocol of their own, and each closes when it likes."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from attrs import define
from twisted.logger import Logger

from vespa.http.client_connection import ClientConnection
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.interfaces import Sink, UpstreamError
from vespa.http.server_connection import ServerConnection
from vespa.protocol.fields import tokens
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead

MOST: Final = 1000
IDLE_SECONDS: Final = 3600.0


@define(eq=False, slots=False)
class Tunnels:
    """
    Counts tunnels and requests for one. Ends a tunnel that carried nothing for `idle_seconds`.

    0 for `most` or `idle_seconds` means no limit.
    """

    log = Logger()

    timer: CoarseTimer
    most: int = MOST
    idle_seconds: float = IDLE_SECONDS
    count = 0

    def claim(self) -> None:
        """Count a request for a tunnel. Raises `Refusal` 503 if the limit is reached."""
        if 0 < self.most <= self.count:
            message = f"{self.count} upgraded connections are open, which is the limit: close some or try again later"
            raise Refusal(503, "too_many_tunnels", message)
        self.count += 1

    def release(self) -> None:
        """The tunnel is closed, or was not granted."""
        self.count -= 1


TunnelClosed = Callable[[bool, int, int], None]
"""Called with False if the upstream's side was cut, and with the bytes from the client and from the upstream."""


class Tunnel:
    """
    Passes bytes both ways until both sides have closed, or one was cut. It replaces the exchange at both ends.

    `closed` is called once. A cut of the client's side counts as a normal end, because clients of such protocols often
    leave like that.
    """

    content_only = False
    may_retry = False
    verified = True  # only verified requests get a tunnel

    def __init__(
        self, client: ServerConnection, upstream: ClientConnection, tunnels: Tunnels, closed: TunnelClosed
    ) -> None:
        self._client: ServerConnection | None = client
        self._upstream = upstream
        self._closed: TunnelClosed | None = closed
        self._client_done = False
        self._upstream_done = False
        self._sent = 0  # bytes from the client
        self._seen = (0, 0)
        self._tunnels = tunnels
        self._active_at = tunnels.timer.clock.seconds()
        if tunnels.idle_seconds:
            tunnels.timer.add(self)
        upstream.hand_over(self)

    def tick(self, now: float) -> None:
        """End a tunnel that carried nothing for too long."""
        seen = (self._sent, self._upstream.progress)
        if seen != self._seen:
            self._seen, self._active_at = seen, now
        elif now - self._active_at >= self._tunnels.idle_seconds:
            self._tunnels.log.info(
                "an upgraded connection carried nothing for {seconds} s and was closed",
                seconds=self._tunnels.idle_seconds,
            )
            self._end(True)

    # -- the client's side

    def receive(self, data: bytes, complete: bool) -> None:
        """Bytes from the client; `complete`: the client sends no more."""
        if data:
            self._sent += len(data)
            self._upstream.write(data)
        if complete:
            self._client_done = True
            if self._upstream_done:
                self._end(True)
            else:
                self._upstream.half_close()

    def hang_up(self, refusal: Refusal | None = None) -> None:
        self._client = None
        self._end(True)

    def pause(self) -> None:
        self._upstream.pause()

    def resume(self) -> None:
        self._upstream.resume()

    def held_bytes(self, received: int) -> int:
        """The number of bytes that wait for the upstream to read."""
        return self._upstream.buffered

    def drop_replay(self) -> None:
        """Does nothing: all bytes are needed."""

    # -- the upstream's side

    def down(self, data: bytes) -> None:
        """Pass bytes to the client."""
        if self._client is not None:
            self._client.send(data)

    def connected(self, connection: ClientConnection) -> None:
        """Does nothing: the connection is made."""

    def interim(self, head: ResponseHead) -> None:
        """Never called: a tunnel has no heads."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """Never called: a tunnel has no heads."""
        return self.down

    def response_end(self) -> None:
        """The upstream sends no more."""
        if self._upstream_done:
            return
        self._upstream_done = True
        if self._client_done or self._client is None:
            self._end(True)
        else:
            self._client.half_close()

    def upstream_failed(self, error: UpstreamError) -> None:
        """The upstream's side was cut."""
        self._end(False)

    def pause_request(self) -> None:
        if self._client is not None:
            self._client.pause_reading()
            if self._client.account() is not None:
                self._end(False)

    def resume_request(self) -> None:
        if self._client is not None:
            self._client.resume_reading()

    def _end(self, whole: bool) -> None:
        closed, self._closed = self._closed, None
        if closed is None:
            return
        self._tunnels.timer.discard(self)
        closed(whole, self._sent, self._upstream.received)
        client, self._client = self._client, None
        if client is not None:
            client.handler = None
        if whole:
            self._upstream.discard()
            if client is not None:
                client.close()
        else:
            self._upstream.cancel()
            if client is not None:
                client.cut()


def offered_protocols(offered: bytes, known: Container[bytes]) -> bytes:
    """The members of an Upgrade field with known names, as they were written, each once; b"" if none."""
    members = {member.lower(): member for part in offered.split(b",") if (member := part.strip(b" \t"))}
    return b", ".join([member for name, member in members.items() if name.partition(b"/")[0] in known])


def was_offered(protocol: bytes, offered: bytes) -> bool:
    """Whether a server may switch to this protocol (RFC 9110 7.8)."""
    asked = set(tokens(offered))
    return bool(asked) and asked.issuperset(tokens(protocol))
