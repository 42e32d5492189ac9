"""What follows a 101: two ends that speak a protocol of their own, each closing when it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from vespa.http.client_connection import ClientConnection, UpstreamError
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.server_request import ServerRequest
from vespa.protocol.heads import ResponseHead
from vespa.protocol.refusal import Refusal
from vespa.transport.tcp import buffered

MOST: Final = 1000
IDLE_SECONDS: Final = 3600.0


class Tunnels:
    """
    Counts tunnels and requests for one; ends a tunnel that carried nothing for `idle_seconds`.

    `most` and `idle_seconds`: 0 is no limit.
    """

    log = Logger()

    def __init__(self, timer: CoarseTimer, most: int = MOST, idle_seconds: float = IDLE_SECONDS) -> None:
        self.count = 0
        self.idle_seconds = idle_seconds
        self.timer = timer
        self._most = most

    def claim(self) -> None:
        """Count a request that asks for a tunnel. Raises `Refusal` 503 when there are as many as there may be."""
        if 0 < self._most <= self.count:
            message = f"{self.count} upgraded connections are open, which is the limit: close some"
            raise Refusal(503, "too_many_tunnels", message)
        self.count += 1

    def release(self) -> None:
        """The tunnel is closed, or was not granted."""
        self.count -= 1


class Tunnel:
    """
    Passes bytes both ways until both sides have closed, or one was cut. It takes the exchange's place at both ends.

    `over` is called once, with False when the backend's side was cut. A client that is cut has left, as clients of
    such protocols do.
    """

    _sent = 0  # reads from the client
    _seen = (0, 0)

    def __init__(
        self, request: ServerRequest, upstream: ClientConnection, tunnels: Tunnels, over: Callable[[bool], None]
    ) -> None:
        self._request = request
        self._upstream = upstream
        self._over: Callable[[bool], None] | None = over
        self._client_done = False
        self._backend_done = False
        self._tunnels = tunnels
        self._active_at = tunnels.timer.clock.seconds()
        if tunnels.idle_seconds:
            tunnels.timer.add(self)
        upstream.hand_over(self)

    def tick(self, now: float) -> None:
        """End a tunnel that has carried nothing for too long."""
        seen = (self._sent, self._upstream.progress)
        if seen != self._seen:
            self._seen, self._active_at = seen, now
        elif now - self._active_at >= self._tunnels.idle_seconds:
            self._tunnels.log.info(
                "closed: an upgraded connection that carried nothing for {seconds} s",
                seconds=self._tunnels.idle_seconds,
            )
            self._end(True)

    # -- the client's side

    def body(self, data: bytes) -> None:
        self._sent += 1
        self._upstream.write(data)

    def end(self) -> None:
        """The client has no more to say."""
        self._client_done = True
        if self._backend_done:
            self._end(True)
        else:
            self._upstream.half_close()

    def hang_up(self) -> None:
        self._end(True)

    def pause(self) -> None:
        self._upstream.pause()

    def resume(self) -> None:
        self._upstream.resume()

    @property
    def verified(self) -> bool:
        """Or there would be no tunnel."""
        return True

    def held(self, received: int) -> int:
        return buffered(self._upstream.transport)

    def release_memory(self) -> None:
        """All of it is needed."""

    # -- the backend's side

    def down(self, data: bytes) -> None:
        """Bytes for the client."""
        self._request.write(data)

    def interim(self, head: ResponseHead) -> None:
        """There are no heads in here."""

    def response(self, head: ResponseHead) -> Callable[[bytes], None]:
        """There are no heads in here."""
        return self.down

    def response_end(self) -> None:
        """The backend has no more to say."""
        if self._backend_done:
            return
        self._backend_done = True
        channel = self._request.channel
        if self._client_done or channel is None:
            self._end(True)
        else:
            channel.half_close()

    def upstream_failed(self, error: UpstreamError) -> None:
        self._end(False)

    def pause_request(self) -> None:
        self._request.pause_body()
        if self._request.account() is not None:
            self._end(False)

    def resume_request(self) -> None:
        self._request.resume_body()

    def _end(self, whole: bool) -> None:
        over, self._over = self._over, None
        if over is None:
            return
        self._tunnels.timer.discard(self)
        over(whole)
        channel, self._request.channel = self._request.channel, None
        if whole:
            self._upstream.leave()
            if channel is not None:
                channel.leave()
        else:
            self._upstream.cancel()
            if channel is not None:
                channel.cut()
