"""Counts requests that have ended, a batch at a time: how they ended, how long they took, how many bytes passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from vespa.accounting.lifecycle import SERVED, State
from vespa.observability.ended_requests import BATCH, EndedRequest
from vespa.observability.histogram import Exemplar
from vespa.observability.metric import Reading, counter, histogram
from vespa.observability.request_record import OUTCOMES, trace_id
from vespa.protocol.error_codes import statuses
from vespa.protocol.request_head import RequestHead

ORIGINS: Final = frozenset(("", "client", "vespa", "backend", "worker", "autoscaler", "console"))
OTHER: Final = "other"
"""Stands for a code or an origin that is not in its list, so that nothing from outside becomes a label."""
EXEMPLARS_A_BATCH: Final = 8
"""How many of the newest requests of a small batch are searched for a trace id; of a full one only the newest is."""

REQUESTS: Final = counter(
    "vespa_requests_total",
    "Requests that have ended, by how they ended, by error code, and by who caused a failure.",
    "outcome",
    "code",
    "origin",
)
BYTES: Final = counter(
    "vespa_bytes_total",
    "Bytes of ended requests with their heads: in from callers, out from the upstream to callers.",
    "direction",
)
ADMISSION_WAIT: Final = histogram(
    "vespa_admission_wait_seconds",
    "Time from the request to its slot, of requests that got one.",
    (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300),
)
CONNECT: Final = histogram(
    "vespa_connect_seconds",
    "Time to connect to the upstream, with TLS, of requests that needed a new connection.",
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
)
FIRST_BYTE: Final = histogram(
    "vespa_time_to_first_byte_seconds",
    "Time from the request to the head of its response, with the wait for a slot.",
    (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 7.5, 10, 20, 30, 60),
)
DURATION: Final = histogram(
    "vespa_request_duration_seconds",
    "Time from the request to its end, of requests that got a slot, however they ended.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
LONGEST_GAP: Final = histogram(
    "vespa_longest_chunk_gap_seconds",
    "Longest time between two reads of a response, of responses that came in several.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
REUSED: Final = counter(
    "vespa_backend_connections_reused_total",
    "Requests with a response that were sent on a kept connection to the upstream.",
)


class RequestMetrics:
    """
    Counts batches of ended requests. `take` is a subscriber of `EndedRequests`.

    A request costs about 0.25 microseconds here, in a full batch. `expected` are outcomes, codes and origins that are
    shown from the start as 0, so that a first failure is a rise.
    """

    def __init__(self, expected: Sequence[tuple[str, str, str]] = ()) -> None:
        self._untraced: RequestHead | None = None  # the newest head without a trace id; repeated heads are one object
        self._ends: Counter[tuple[State, str, str]] = Counter()
        self._expected = expected
        self._bytes_in = self._bytes_out = self._reused = 0
        self._admission_wait = ADMISSION_WAIT.histogram()
        self._connect = CONNECT.histogram()
        self._first_byte = FIRST_BYTE.histogram()
        self._duration = DURATION.histogram()
        self._longest_gap = LONGEST_GAP.histogram()

    def take(self, batch: Sequence[EndedRequest]) -> None:
        """Requests have ended."""
        ends, is_served = self._ends, SERVED
        served = bytes_in = bytes_out = fresh = 0
        # Values are sorted and counted by bucket, which is faster than finding the bucket of each.
        whole: list[float] = []  # of responses that came at once: the time to the first byte is the whole duration
        durations: list[float] = []
        first_bytes: list[float] = []
        waits: list[float] = []
        connects: list[float] = []
        gaps: list[float] = []
        for ended in batch:
            if ended.state is is_served:
                served += 1
            else:
                ends[ended.state, _code(ended.code), _origin(ended.origin)] += 1
            bytes_in += ended.bytes_in
            bytes_out += ended.bytes_out
            started_at = ended.started_at
            if not started_at:
                continue
            received_at = ended.received_at
            first_byte_at = ended.first_byte_at
            ended_at = ended.ended_at
            if first_byte_at == ended_at:
                whole.append(ended_at - received_at)
            else:
                durations.append(ended_at - received_at)
                if first_byte_at:
                    first_bytes.append(first_byte_at - received_at)
                gap = ended.longest_gap
                if gap:
                    gaps.append(gap)
            if started_at != received_at:
                waits.append(started_at - received_at)
            connect = ended.connect_seconds
            if connect:
                connects.append(connect)
                if first_byte_at:
                    fresh += 1
        ends[is_served, "", ""] += served
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out
        self._reused += len(whole) + len(first_bytes) - fresh
        for values in (whole, durations, first_bytes, waits, connects, gaps):
            values.sort()
        self._duration.add_sorted(whole)
        self._duration.add_sorted(durations)
        self._first_byte.add_sorted(whole)
        self._first_byte.add_sorted(first_bytes)
        self._admission_wait.add_zeros(len(whole) + len(durations) - len(waits))
        self._admission_wait.add_sorted(waits)
        self._connect.add_sorted(connects)
        self._longest_gap.add_sorted(gaps)
        # A search takes 5 to 10 microseconds. Small batches come once a second.
        for ended in batch[-min(EXEMPLARS_A_BATCH, max(1, BATCH // len(batch))) :]:
            if ended.started_at and ended.head is not self._untraced:
                self._note(ended)

    def _note(self, ended: EndedRequest) -> None:
        """Keep the trace id of a request as the exemplar of its buckets."""
        trace = trace_id(ended)
        if not trace:
            self._untraced = ended.head
            return
        at, received_at = ended.ended_at, ended.received_at
        self._duration.note(Exemplar(max(0.0, at - received_at), trace, at))
        if ended.first_byte_at:
            self._first_byte.note(Exemplar(max(0.0, ended.first_byte_at - received_at), trace, at))

    def _requests(self) -> Mapping[tuple[str, ...], float]:
        counts: dict[tuple[str, ...], int] = dict.fromkeys(self._expected, 0)
        for (state, code, origin), count in self._ends.items():
            counts[OUTCOMES[state], code, origin] = count
        return counts

    def readings(self) -> list[Reading]:
        """The metrics of requests."""
        return [
            Reading(REQUESTS, self._requests),
            Reading(BYTES, lambda: {"in": self._bytes_in, "out": self._bytes_out}),
            Reading(ADMISSION_WAIT, lambda: self._admission_wait),
            Reading(CONNECT, lambda: self._connect),
            Reading(FIRST_BYTE, lambda: self._first_byte),
            Reading(DURATION, lambda: self._duration),
            Reading(LONGEST_GAP, lambda: self._longest_gap),
            Reading(REUSED, lambda: self._reused),
        ]


def _code(code: str) -> str:
    return code if not code or statuses(code) else OTHER


def _origin(origin: str) -> str:
    return origin if origin in ORIGINS else OTHER
