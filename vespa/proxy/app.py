"""The parts that all exchanges of a process share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.http.coarse_timer import CoarseTimer
from vespa.http.held_bytes import SMALL
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.protocol.via import Via
from vespa.proxy.interfaces import (
    Admission,
    BodyTransform,
    HeaderPolicy,
    RequestObserver,
    ResponsePolicy,
    ResponseReader,
    UpstreamSelector,
)
from vespa.proxy.upgrade import Tunnels
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.runtime.ratelimited_log import RateLimitedLog


class App:
    """
    The parts of a proxy, as its exchanges call them.

    `worker.app` and `client.app` compose one each.
    """

    log = Logger(namespace="vespa.proxy")

    def __init__(
        self,
        clock: IReactorTime,
        *,
        body: BodyTransform,
        admission: Admission[Any],
        upstreams: UpstreamSelector[Any],
        headers: HeaderPolicy[Any],
        responses: ResponsePolicy[Any] | None = None,
        via: Via,
        replay_limit: int,
        verifies: bool,
        timeouts: Timeouts | None = None,
        timer: CoarseTimer | None = None,
        tunnels: Tunnels | None = None,
        observer: RequestObserver[Any] | None = None,
        response_reader: Callable[[Any, ResponseHead, int], ResponseReader | None] | None = None,
        stream_errors: bool = False,
    ) -> None:
        """
        `responses` may be None if the upstream's responses pass unchanged. `replay_limit` is the number of bytes of a
        body that are kept until a response begins, to send them again. `verifies`: requests are signed. `timer` checks
        deadlines, and `tunnels` counts upgraded connections. If they are None, new ones are made.
        `observer` is told of each request that has ended. `response_reader` returns what looks at an exchange's
        response with this head and Content-Length (-1: it has none), or None. `stream_errors`: an event stream that
        breaks ends with an error event.
        """
        self.clock = clock
        # The parts' methods, bound once: each is called for every request.
        self.unwrap = body.unwrap
        self.begin_body = body.begin_body
        self.verify = admission.verify
        self.admit = admission.admit
        self.advance = admission.advance
        self.served = admission.served
        self.settle = admission.settle
        self.ended: Callable[[Any], object] = observer.ended if observer is not None else _nobody
        self.release = admission.release
        self.select = upstreams.select
        self.next_upstream = upstreams.next_upstream
        self.abandon = upstreams.abandon
        self.request_head: Callable[[Any], bytes] = headers.request_head
        self.rewrites_responses = responses is not None
        self.response_reader = response_reader
        self.stream_errors = stream_errors
        self.response_lines = responses.response_lines if responses is not None else _as_they_are
        self.replay_limit = replay_limit
        self.uncounted_bytes = min(SMALL, replay_limit)  # of a payload that has been sent
        self.verifies = verifies
        self.timeouts = timeouts or Timeouts()
        self.watches = self.timeouts.any
        self.looks_at_responses = self.rewrites_responses or response_reader is not None
        self.timer = timer or CoarseTimer(clock)
        self.tunnels = tunnels or Tunnels(self.timer)
        self.warnings = RateLimitedLog(self.log, clock)
        self.via = via
        self.own_lines: Callable[[Any], bytes] = _no_lines
        """The field lines that Vespa's own response to an exchange has in addition."""


def draining() -> Refusal:
    """The refusal of requests while a server stops."""
    return Refusal(503, "draining", "the server is shutting down", retry_after=1)


def _nobody(exchange: object) -> None:
    """Observe nothing."""


def _no_lines(exchange: object) -> bytes:
    return b""


def _as_they_are(exchange: object, head: ResponseHead) -> bytes:
    return head.fields_block
