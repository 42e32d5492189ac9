"""The last requests, and what ended in the present second."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from vespa.accounting.lifecycle import CANCELLED, SERVED, UNSERVED, State
from vespa.accounting.workload import from_micros
from vespa.observability.ended_requests import EndedRequest
from vespa.observability.request_id import taken
from vespa.observability.request_record import OUTCOMES, record

KEPT: Final = 50
"""The number of requests that are kept, and as many again of those that Vespa did not pass on as they should be."""
SAMPLES: Final = 1000
"""The number of first-byte times that are kept of one second, its first."""

_GOOD: Final = frozenset((SERVED, UNSERVED, CANCELLED))


@frozen
class Second:
    """What ended since the last look. Work in units, times in seconds; None without a response."""

    counts: Mapping[str, int]
    served_work: float
    first_byte_p50: float | None
    first_byte_p95: float | None


class RecentRequests:
    """
    Takes batches of ended requests (`take` is a subscriber of `EndedRequests`), and is looked at once a second.

    For each request it only stores a reference. `take_second` makes rows of the newest, at most `KEPT` of each kind.
    `row` makes one: a flat JSON-safe dict. Each gets a `number`, which rises by one from row to row.
    """

    def __init__(self, row: Callable[[Any], dict[str, Any]]) -> None:
        self._row = row
        self._new: deque[Any] = deque(maxlen=KEPT)
        self._new_failures: deque[Any] = deque(maxlen=KEPT)
        self._counts: Counter[State] = Counter()
        self._served_work = 0
        self._first_bytes: list[float] = []
        self._rows: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._failures: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._number = 0
        self.totals: dict[str, int] = dict.fromkeys(OUTCOMES.values(), 0)
        """The number of requests by outcome since the start, up to the last look."""

    def take(self, batch: Sequence[Any]) -> None:
        """Requests have ended. Called with whole batches, since each of them may be long."""
        self._new.extend(batch)
        self._counts.update([ended.state for ended in batch])
        self._served_work += sum(
            [ended.work if ended.measured is None else ended.measured for ended in batch if ended.state is SERVED]
        )
        failures = [ended for ended in batch if ended.state not in _GOOD]
        self._new_failures.extend(failures)
        room = SAMPLES - len(self._first_bytes)
        if room > 0:
            # Not below 0, although the clock may have been set back.
            times = [max(0.0, ended.first_byte_at - ended.received_at) for ended in batch if ended.first_byte_at]
            self._first_bytes += times[:room]

    def take_second(self) -> Second:
        """What ended since the last call."""
        counts = {word: self._counts[state] for state, word in OUTCOMES.items()}
        for word, count in counts.items():
            self.totals[word] += count
        times = sorted(self._first_bytes)
        second = Second(counts, from_micros(self._served_work), quantile(times, 0.5), quantile(times, 0.95))
        self._counts.clear()
        self._served_work = 0
        self._first_bytes = []
        self._add_rows()
        return second

    def _add_rows(self) -> None:
        new, failures = list(self._new), list(self._new_failures)
        self._new.clear()
        self._new_failures.clear()
        failed = {id(ended) for ended in failures}
        rows = {id(ended): self._row(ended) for ended in (*failures, *new)}
        for key, row in sorted(rows.items(), key=lambda pair: pair[1]["ended_at"]):
            self._number += 1
            row["number"] = self._number
            self._rows.append(row)
            if key in failed:
                self._failures.append(row)

    @property
    def number(self) -> int:
        """The number of the newest row; 0 before the first."""
        return self._number

    def rows(self, after: int = 0, most: int = KEPT) -> list[dict[str, Any]]:
        """The newest rows, the oldest first: those with a number above `after`, at most so many."""
        return _newest(self._rows, after, most)

    def failures(self, after: int = 0, most: int = KEPT) -> list[dict[str, Any]]:
        """The same of requests that failed or were refused. They stay when many others have followed."""
        return _newest(self._failures, after, most)

    def newest(self, after: int, most: int) -> list[dict[str, Any]]:
        """The newest rows and the newest failures with a number above `after`, at most so many of each, in order."""
        found = {row["number"]: row for row in (*self.failures(after, most), *self.rows(after, most))}
        return [found[number] for number in sorted(found)]


def _newest(rows: deque[dict[str, Any]], after: int, most: int) -> list[dict[str, Any]]:
    return [row for row in rows if row["number"] > after][-most:]


def row(request: EndedRequest) -> dict[str, Any]:
    """A request for the document: the members of its `RequestRecord`, with units in their names."""
    found = asdict(record(request))
    if not found["request_id"] and request.head is not None:  # nobody has asked for it; the caller may have sent one
        found["request_id"] = taken(request.head)
    found["longest_gap_seconds"] = found.pop("longest_gap")
    return found


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value below or at which this share of the values lies; None without values."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None
