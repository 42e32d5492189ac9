"""The switch to another protocol: a response 101 makes a tunnel of a request's two connections."""

from __future__ import annotations

from vespa.accounting.lifecycle import BREAK, END, HEAD
from vespa.http.interfaces import Sink, UpstreamError, nobody
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.request_sender import RequestSender
from vespa.proxy.upgrade import Tunnel, was_offered


class ProtocolSwitch(RequestSender):
    """How an exchange becomes a tunnel."""

    def _switch_protocols(self, head: ResponseHead) -> Sink:
        """A 101: connect the two ends directly, if the client asked for it."""
        try:
            lines = self.app.response_lines(self, head)
        except Refusal as refusal:
            self.refuse(refusal)
            return nobody
        upstream, self.upstream = self.upstream, None
        assert upstream is not None and self.pool is not None
        protocol = head.upgrade or self.upgrade
        wrong = "" if was_offered(protocol, self.upgrade) else "without a request for it"
        if not self.client.request_complete:
            wrong = "before it had the whole request"
        if wrong:
            upstream.cancel()
            self.upstream_failed(UpstreamError("bad_reply", f"the {self.pool.name} switched protocols {wrong}"))
            return nobody
        self.app.advance(self, HEAD)
        self._end_deadlines()
        tunnel = Tunnel(self.client, upstream, self.app.tunnels, self._tunnel_closed)
        self.client.switch_protocols(lines + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n", tunnel)
        if self.client.write_blocked:
            upstream.pause()
        if upstream.write_blocked:
            self.client.pause_reading()
        self.app.release(self)  # a tunnel may last long, so it gives up its slot
        return tunnel.down

    def _tunnel_closed(self, whole: bool, bytes_in: int, bytes_out: int) -> None:
        """Both sides of a tunnel have ended; `whole` unless the upstream's was cut."""
        self.bytes_in += bytes_in
        self.bytes_out = bytes_out
        if not whole:
            self.code, self.origin = "truncated_reply", self.upstream_name
        self._settle(END if whole else BREAK)
