"""The lines of the access log, as JSON or as text. docs/logging.md lists what they hold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Final, Protocol

from vespa.accounting.lifecycle import SERVED
from vespa.observability.access_upstreams import UpstreamTexts, printable_address
from vespa.observability.access_values import in_milliseconds, level_of, method_of, path_of
from vespa.observability.ended_requests import EndedRequest
from vespa.observability.request_id import RequestIds, taken
from vespa.observability.request_record import record, trace_id
from vespa.protocol.request_head import RequestHead

NAMESPACE: Final = "vespa.access"
KNOWN_MAX: Final = 256
"""The number of heads whose part of a line is remembered, because programs repeat them. Each has at most 8 KiB."""

Known = tuple[str, str, str]
"""What all lines with one head share: the text of method and path, that of the trace, and the caller's request id."""


class AccessLines(Protocol):
    """Makes lines."""

    def lines(self, requests: Iterable[EndedRequest]) -> list[str]:
        """A line for each request, with its line break."""


class _Lines:
    def __init__(self, ids: RequestIds, *, names_upstreams: bool) -> None:
        """`names_upstreams`: there may be several upstreams. Otherwise `upstream_address` is always ""."""
        self._ids = ids
        # None where there is only one: then nothing is read of a request for it.
        self._upstreams = UpstreamTexts(self._upstream) if names_upstreams else None
        self._known: dict[RequestHead, Known] = {}
        self._second = -1
        self._second_text = ""

    def _new_second(self, second: int) -> str:
        """A second in UTC, the beginning of each line until the next."""
        self._second = second
        self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._second_text

    def _look_at(self, request: EndedRequest, head: RequestHead) -> Known:
        known = self._shared(head, trace_id(request))
        if head.plain:  # others may be larger, and rarely repeat
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[head] = known
        return known

    def _shared(self, head: RequestHead, trace: str) -> Known:
        raise NotImplementedError

    def _upstream(self, address: str) -> str:
        raise NotImplementedError


_JSON_SERVED: Final = (
    '{"time": "%s.%03dZ", "level": "info", "event": "request", "request_id": "%s", %s, "status": %d, '
    '"outcome": "served", "origin": "", "cost": %s, "request_idx": %s, "peer": "%s", "bytes_in": %d, "bytes_out": %d, '
    '"queue_ms": %.3f, "connect_ms": %s, "first_byte_ms": %.3f, "total_ms": %.3f%s}\n'
)


class JSONLines(_Lines):
    """Lines of JSON."""

    def lines(self, requests: Iterable[EndedRequest]) -> list[str]:
        known, prefix, next_number = self._known.get, self._ids.prefix, self._ids.next_number
        upstreams = self._upstreams
        second, second_text = self._second, self._second_text
        made: list[str] = []
        for request in requests:
            received, started = request.received_at, request.started_at
            first_byte, ended = request.first_byte_at, request.ended_at
            head = request.head
            if request.state is SERVED and head is not None and 0.0 < received <= started <= first_byte <= ended:
                # Nearly every line of the log of all requests: all in one place, because calls are slow.
                index, connect = request.request_idx, request.connect_seconds
                shared, trace, taken_id = known(head) or self._look_at(request, head)
                milliseconds = int(ended * 1e3 + 0.5)
                if milliseconds // 1000 != second:
                    second = milliseconds // 1000
                    second_text = self._new_second(second)
                if upstreams is not None:
                    trace = upstreams[request.upstream_address] + trace
                line = _JSON_SERVED % (
                    second_text,
                    milliseconds % 1000,
                    request.request_id or taken_id or f"{prefix}{next_number():08x}",
                    shared,
                    request.status,
                    request.work / 1e6,
                    "null" if index is None else index,
                    request.peer,
                    request.bytes_in,
                    request.bytes_out,
                    (started - received) * 1e3,
                    f"{connect * 1e3:.3f}" if connect else "null",
                    (first_byte - received) * 1e3,
                    (ended - received) * 1e3,
                    trace,
                )
            else:
                line = self._other(request)
            made.append(line)
        return made

    def _other(self, request: EndedRequest) -> str:
        """The line of any request."""
        milliseconds = int(request.ended_at * 1e3 + 0.5)
        told = record(request)
        line: dict[str, object] = {
            "time": f"{self._new_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z",
            "level": level_of(request).name,
            "event": "request",
            "request_id": self._ids.of(request),
            "method": told.method,
            "path": path_of(request.head),
            "status": told.status,
            "outcome": told.outcome,
            "origin": told.origin,
            "cost": told.cost,
            "request_idx": told.request_idx,
            "peer": told.peer,
            "bytes_in": told.bytes_in,
            "bytes_out": told.bytes_out,
            "queue_ms": in_milliseconds(told.queue_seconds),
            "connect_ms": in_milliseconds(told.connect_seconds),
            "first_byte_ms": in_milliseconds(told.first_byte_seconds),
            "total_ms": in_milliseconds(told.total_seconds),
        }
        if told.upstream:
            line["upstream"] = told.upstream
        if told.code:
            line["code"] = told.code
        if told.trace_id:
            line["trace_id"] = told.trace_id
        return json.dumps(line) + "\n"

    def _shared(self, head: RequestHead, trace: str) -> Known:
        shared = f'"method": {json.dumps(method_of(head))}, "path": {json.dumps(path_of(head))}'
        return shared, f', "trace_id": "{trace}"' if trace else "", taken(head)

    def _upstream(self, address: str) -> str:
        return f', "upstream": {json.dumps(address)}'


_TEXT: Final = f"%s.%03dZ %s [{NAMESPACE}] %3s %-9s %9s ms  %s%s%s%s peer=%s in=%d out=%d%s%s%s id=%s%s%s\n"
_TEXT_SERVED: Final = (
    f"%s.%03dZ info [{NAMESPACE}] %3d served    %9.1f ms  %s cost=%g%s peer=%s in=%d out=%d queue=%.1f%s "
    "first_byte=%.1f id=%s%s\n"
)


class TextLines(_Lines):
    """Lines for people: status, outcome and duration in columns, then method and path, then the rest by name."""

    def lines(self, requests: Iterable[EndedRequest]) -> list[str]:
        known, prefix, next_number = self._known.get, self._ids.prefix, self._ids.next_number
        upstreams = self._upstreams
        made: list[str] = []
        for request in requests:
            received, started = request.received_at, request.started_at
            first_byte, ended = request.first_byte_at, request.ended_at
            head = request.head
            if request.state is SERVED and head is not None and 0.0 < received <= started <= first_byte <= ended:
                index, connect = request.request_idx, request.connect_seconds
                shared, trace, taken_id = known(head) or self._look_at(request, head)
                milliseconds = int(ended * 1e3 + 0.5)
                if milliseconds // 1000 != self._second:
                    self._new_second(milliseconds // 1000)
                if upstreams is not None:
                    trace = upstreams[request.upstream_address] + trace
                line = _TEXT_SERVED % (
                    self._second_text,
                    milliseconds % 1000,
                    request.status,
                    (ended - received) * 1e3,
                    shared,
                    request.work / 1e6,
                    "" if index is None else f" request_idx={index}",
                    request.peer or "-",
                    request.bytes_in,
                    request.bytes_out,
                    (started - received) * 1e3,
                    f" connect={connect * 1e3:.1f}" if connect else "",
                    (first_byte - received) * 1e3,
                    request.request_id or taken_id or f"{prefix}{next_number():08x}",
                    trace,
                )
            else:
                line = self._other(request)
            made.append(line)
        return made

    def _other(self, request: EndedRequest) -> str:
        milliseconds = int(request.ended_at * 1e3 + 0.5)
        told = record(request)
        return _TEXT % (
            self._new_second(milliseconds // 1000),
            milliseconds % 1000,
            level_of(request).name,
            told.status or "-",
            told.outcome,
            "-" if told.total_seconds is None else f"{told.total_seconds * 1e3:.1f}",
            f"{told.method or '-'} {path_of(request.head) or '-'}",
            f" {told.code}" if told.code else "",
            f" by={told.origin}" if told.origin else "",
            f" cost={told.cost:g}" + ("" if told.request_idx is None else f" request_idx={told.request_idx}"),
            told.peer or "-",
            told.bytes_in,
            told.bytes_out,
            _named("queue", told.queue_seconds),
            _named("connect", told.connect_seconds),
            _named("first_byte", told.first_byte_seconds),
            self._ids.of(request),
            self._upstream(told.upstream) if told.upstream else "",
            f" trace={told.trace_id}" if told.trace_id else "",
        )

    def _shared(self, head: RequestHead, trace: str) -> Known:
        return f"{method_of(head)} {path_of(head)}", f" trace={trace}" if trace else "", taken(head)

    def _upstream(self, address: str) -> str:
        return f" upstream={printable_address(address)}"


def _named(name: str, seconds: float | None) -> str:
    return "" if seconds is None else f" {name}={seconds * 1e3:.1f}"
