"""
The status of a proxy as one document, for the page, for `/status.json` and for `vespa-proxy top`.

docs/status-page.md lists its members. It is flat, and its numbers are in base units, which their names tell: `_seconds`
is a duration, `_at` a time in epoch seconds, `_total` a count since the start, `throughput` units of work a second,
`load` units of work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReactorTime

from vespa.observability.history import History
from vespa.observability.recent_requests import RecentRequests
from vespa.observability.request_record import OUTCOMES
from vespa.runtime.secret import hidden
from vespa.runtime.state_changes import StateChanges
from vespa.transport.certificates import Certificate

VERSION: Final = 1
"""The version of the document's shape. It rises if a member is removed or gets another meaning."""
TEXT_MAX: Final = 500
"""The maximum length of a text in the document, in characters."""
EVENT_ROWS: Final = 4
"""The number of requests, and of failures, that one event carries at most."""
EVENT_SECONDS: Final = 3
"""The seconds of history in an event: an event may be late, or be lost with its connection."""
EVENT_CHANGES: Final = 3
STOPPING: Final = "This process stops: it accepts no new requests, and lets those in flight finish."
"""What a subject tells while it drains."""
LATE_SECONDS: Final = 0.5
"""An event loop that was so late is a problem: every request waited for as long."""
_LATE_ROWS: Final = 10
_NOW_SECONDS: Final = 30  # `throughput_now` is a mean, because the work of a long request is counted at its end
_SOON: Final = 0.01  # a timer may be a little early, by the rounding of its sums

COMMON: Final = (
    "throughput",
    *(f"requests_{word}" for word in OUTCOMES.values()),
    "first_byte_p50_seconds",
    "first_byte_p95_seconds",
    "loop_lag_seconds",
)
"""The figures of each second that worker and client share."""


class Subject(Protocol):
    """What the document is about: a worker or a client."""

    @property
    def kind(self) -> str:
        """`worker` or `client`."""

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of its figures of each second, in addition to `COMMON`."""

    @property
    def states(self) -> StateChanges:
        """The states that it was in."""

    def measure(self) -> Mapping[str, float | None]:
        """The figures of the present second. Called once a second."""

    def facts(self) -> dict[str, Any]:
        """
        Its members of the document, `problems` among them.

        Texts may be long and come from strangers; numbers may be infinite.
        """


class StatusDocument:
    """
    Makes the document. `tick` is to be called once a second.

    `version` is Vespa's. `settings` are rows for the document, with secrets already hidden. `secrets` are hidden again
    in every text. `log_level` returns the present level.
    """

    def __init__(
        self,
        subject: Subject,
        requests: RecentRequests,
        clock: IReactorTime,
        *,
        version: str,
        settings: Sequence[Mapping[str, Any]] = (),
        secrets: Sequence[str] = (),
        log_level: Callable[[], str] = lambda: "info",
    ) -> None:
        self._subject = subject
        self._requests = requests
        self._clock = clock
        self._version = version
        self._settings = settings
        self._secrets = [secret for secret in secrets if secret]
        self._log_level = log_level
        self.admin_certificate: Certificate | None = None
        """The certificate of the port at which the document is read; None without TLS. It may be set later."""
        self._started_at = clock.seconds()
        self._history = History((*COMMON, *subject.figures))
        self._ticked_at = self._started_at
        self._numbers = [0] * EVENT_SECONDS  # the newest row of requests at the last ticks

    def tick(self) -> None:
        """Store the figures of the second that ends now. After a late call the seconds that were missed are a gap."""
        now = self._clock.seconds()
        elapsed = now - self._ticked_at
        second = self._requests.take_second()
        if elapsed <= 0:  # the clock went back
            elapsed = 1.0
        lag = max(0.0, elapsed - 1.0)
        self._ticked_at = now
        self._history.add(
            int(now - self._started_at + _SOON),
            {
                "throughput": second.served_work / elapsed,
                **{f"requests_{word}": count / elapsed for word, count in second.counts.items()},
                "first_byte_p50_seconds": second.first_byte_p50,
                "first_byte_p95_seconds": second.first_byte_p95,
                "loop_lag_seconds": lag,
                **self._subject.measure(),
            },
        )
        self._numbers = [*self._numbers[1:], self._requests.number]

    def document(self) -> dict[str, Any]:
        """The whole document."""
        lists = {
            "state_changes": _changes(self._subject.states, None),
            "requests": self._requests.rows(),
            "failures": self._requests.failures(),
            "settings": list(self._settings),
        }
        return {**self._safe({**self._small(), **lists}), "history": self._history.document(self._started_at)}

    def event(self) -> dict[str, Any]:
        """
        What a reader of the document gets each second: the same members, without `settings` and `failures`.

        It has only the end of each list: of the history, the states and the requests, with as many failures. A reader
        appends what it has not seen yet, by time or `number`, and reads the whole document again after it lost its
        connection.
        """
        after = self._numbers[0]
        lists = {
            "state_changes": _changes(self._subject.states, EVENT_CHANGES),
            "requests": self._requests.newest(after, EVENT_ROWS),
        }
        newest = self._history.document(self._started_at, EVENT_SECONDS)
        return {**self._safe({**self._small(), **lists}), "history": newest}

    def _small(self) -> dict[str, Any]:
        newest = self._subject.states.newest
        facts = self._subject.facts()
        problems = [*facts["problems"], *self._problems()]
        facts["problems"] = sorted(problems, key=lambda problem: problem["severity"] != "error")
        return {
            "version": VERSION,
            "kind": self._subject.kind,
            "vespa_version": self._version,
            "now_at": self._clock.seconds(),
            "started_at": self._started_at,
            "log_level": self._log_level(),
            "state": newest.state if newest else "",
            "state_since_at": newest.at if newest else None,
            "state_reason": newest.reason if newest else "",
            "throughput_now": self._history.mean("throughput", _NOW_SECONDS),
            **{f"requests_{word}_total": count for word, count in self._requests.totals.items()},
            **facts,
        }

    def _problems(self) -> list[dict[str, str]]:
        """What is wrong beside what the subject tells."""
        found = []
        lag = self._history.highest("loop_lag_seconds", _LATE_ROWS) or 0.0
        if lag >= LATE_SECONDS:
            found.append({"severity": "warning", "text": _late(lag)})
        certificate = self.admin_certificate
        if certificate and (problem := certificate.problem(self._clock.seconds(), "certificate of the admin port")):
            found.append({"severity": problem[0], "text": problem[1]})
        return found

    def _safe(self, value: Any) -> Any:
        """The value for JSON: no infinite number, texts of a limited length without secrets."""
        if isinstance(value, str):
            return hidden(value[: TEXT_MAX - 1] + "…" if len(value) > TEXT_MAX else value, self._secrets)
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else None
        if isinstance(value, Mapping):
            return {name: self._safe(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._safe(each) for each in value]
        return value


def _late(seconds: float) -> str:
    return (
        f"The event loop was {seconds:.1f} s late in the last {_LATE_ROWS} s, and so was every request: the machine's "
        "processor is too busy, or something in the process blocks."
    )


def page() -> bytes:
    """The status page in HTML. It reads `/status.json` and `/events`, and refers to nothing else."""
    return files("vespa.observability").joinpath("page.html").read_bytes()


def _changes(states: StateChanges, most: int | None) -> list[dict[str, Any]]:
    changes = states.all()
    kept = changes if most is None else changes[-most:]
    return [{"at": change.at, "state": change.state, "reason": change.reason} for change in kept]
