"""What follows a 101: two ends that speak a protocol of their own, each closing when it likes."""

from __future__ import annotations

from collections.abc import Callable

from vespa.http.connection import ClientConnection, UpstreamError
from vespa.http.head import ReplyHead
from vespa.http.request import ServerRequest


class Tunnel:
    """
    Passes bytes both ways until both sides have closed, or one was cut. It takes the exchange's place at both ends.

    `over` is called once, with False when the backend's side was cut. A client that is cut has left, as clients of
    such protocols do.
    """

    def __init__(self, request: ServerRequest, upstream: ClientConnection, over: Callable[[bool], None]) -> None:
        self._request = request
        self._upstream = upstream
        self._over: Callable[[bool], None] | None = over
        self._client_done = False
        self._backend_done = False
        upstream.hand_over(self)

    # -- the client's side

    def body(self, data: bytes) -> None:
        self._upstream.write(data)

    def end(self) -> None:
        """The client has no more to say."""
        self._client_done = True
        if self._backend_done:
            self._end(True)
        else:
            self._upstream.half_close()

    def gone(self) -> None:
        self._end(True)

    def pause(self) -> None:
        self._upstream.pause()

    def resume(self) -> None:
        self._upstream.resume()

    # -- the backend's side

    def down(self, data: bytes) -> None:
        """Bytes for the client."""
        self._request.write(data)

    def interim(self, head: ReplyHead) -> None:
        """There are no heads in here."""

    def reply(self, head: ReplyHead) -> Callable[[bytes], None]:
        """There are no heads in here."""
        return self.down

    def reply_end(self) -> None:
        """The backend has no more to say."""
        if self._backend_done:
            return
        self._backend_done = True
        channel = self._request.channel
        if self._client_done or channel is None:
            self._end(True)
        else:
            channel.half_close()

    def broke(self, error: UpstreamError) -> None:
        self._end(False)

    def pause_request(self) -> None:
        self._request.pause_body()

    def resume_request(self) -> None:
        self._request.resume_body()

    def _end(self, whole: bool) -> None:
        over, self._over = self._over, None
        if over is None:
            return
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
