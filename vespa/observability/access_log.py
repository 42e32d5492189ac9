"""
The access log: a line for each request that has ended, or for each that was not served.

docs/logging.md lists what a line holds. It never holds a query, the value of a header field, or a body.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from vespa.accounting.lifecycle import SERVED
from vespa.observability.access_line import NAMESPACE, AccessLines, JSONLines, TextLines
from vespa.observability.access_values import level_of
from vespa.observability.ended_requests import EndedRequest, EndedRequests
from vespa.observability.request_id import RequestIds
from vespa.observability.request_record import OUTCOMES
from vespa.proxy.app import App
from vespa.runtime import process
from vespa.runtime.logging import LineObserver

Mode = Literal["off", "failures", "all"]

STRANGERS_MAX: Final = 10
"""The number of lines in `WINDOW_SECONDS` about requests of unverified callers, for each code. A count follows."""
FAILURES_MAX: Final = 500
"""The same for other requests that were not served, unless each request has a line."""
WINDOW_SECONDS: Final = 10.0


log = Logger(namespace=NAMESPACE)


def mode_of(setting: Mode, *, debug: bool) -> Mode:
    """The mode for a setting, in a process that is to log everything or not."""
    return "all" if debug and setting != "off" else setting


class AccessLog(Service):
    """
    Writes lines about requests that have ended. `take` is a subscriber of `EndedRequests`.

    `failures`: requests that were not served have a line each, up to `FAILURES_MAX`; `all`: each request has one. At
    level debug it is `all`, unless the mode is `off`. Unverified callers cannot fill the log: see `STRANGERS_MAX`.
    """

    def __init__(
        self,
        mode: Mode,
        own_log: Callable[[], LineObserver | None],
        ids: RequestIds,
        clock: IReactorTime,
        *,
        names_upstreams: bool,
    ) -> None:
        """
        `own_log` returns None while the process logs through another log. A line is then an event.

        `names_upstreams`: there may be several upstreams, and a line names that of its request.
        """
        self._mode = mode
        self._own_log = own_log
        self._clock = clock
        self._json: AccessLines = JSONLines(ids, names_upstreams=names_upstreams)
        self._text: AccessLines = TextLines(ids, names_upstreams=names_upstreams)
        self._counts: Counter[tuple[str, bool]] = Counter()  # in this window, by code and whether callers are verified
        self._window: IDelayedCall | None = None

    def take(self, batch: Sequence[EndedRequest]) -> None:
        """Requests have ended."""
        if self._mode == "off":
            return
        own = self._own_log()
        everything = self._mode == "all" or (own is not None and own.level is LogLevel.debug)
        told = [
            request
            for request in batch
            if (everything if request.state is SERVED else self._may_tell(request, everything))
        ]
        if own is None:
            self._emit(told)
            return
        if own.level > LogLevel.info:
            told = [request for request in told if level_of(request) >= own.level]
        if told:
            lines = (self._json if own.format == "json" else self._text).lines(told)
            own.stream.write(own.redaction.without_values("".join(lines)))

    def _emit(self, told: Sequence[EndedRequest]) -> None:
        for request, line in zip(told, self._text.lines(told), strict=True):
            _, _, text = line.rstrip("\n").partition("] ")
            log.emit(level_of(request), "{line}", line=text)

    # -- bounds

    def _may_tell(self, request: EndedRequest, everything: bool) -> bool:
        """Count a request that was not served. Returns whether it gets a line."""
        is_verified = bool(request.received_at)
        if is_verified and everything:
            return True
        kind = request.code or OUTCOMES[request.state], is_verified
        self._counts[kind] += 1
        if self._window is None:
            self._window = self._clock.callLater(WINDOW_SECONDS, self._end_window)
        return self._counts[kind] <= _most(is_verified)

    def _end_window(self) -> None:
        self._window = None
        counts, self._counts = self._counts, Counter()
        for (kind, is_verified), count in counts.items():
            left_out = count - _most(is_verified)
            if left_out > 0:
                log.info(
                    "and {left_out} more like it in the last {seconds:g} s: {kind}{whose}",
                    left_out=f"{left_out:,}",
                    seconds=WINDOW_SECONDS,
                    kind=kind,
                    whose="" if is_verified else ", by callers that are not verified",
                )

    def stopService(self) -> None:
        """Log the counts so far."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._window is not None:
            self._window.cancel()
            self._end_window()


def _most(is_verified: bool) -> int:
    return FAILURES_MAX if is_verified else STRANGERS_MAX


def log_requests(
    clock: IReactorTime,
    proxy: App,
    ended: EndedRequests,
    ids: RequestIds,
    *,
    mode: Mode,
    passes_ids: bool,
    names_upstreams: bool,
    own_log: Callable[[], LineObserver | None] = process.own_log,
) -> AccessLog:
    """
    Give each request an id, and log those that end. Returns the log, a service that stops after `ended`.

    `passes_ids`: upstreams get the ids that are made, too. `names_upstreams`: there may be several upstreams.
    """
    proxy.own_lines = ended.own_lines = ids.lines
    if passes_ids:
        proxy.request_head = ids.added_to(proxy.request_head)
    access_log = AccessLog(mode, own_log, ids, clock, names_upstreams=names_upstreams)
    if mode != "off":
        ended.subscribe(access_log.take)
    return access_log
