"""
The figures of a status document as lines of text.

A member that no line knows gets a line of its own at the end: the document may be of another version of Vespa.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from vespa.top import feature_figures
from vespa.top.document import Document
from vespa.top.units import age, amount, duration, moment, number, plural, units_of_work

OUTCOMES: Final = ("served", "unserved", "failed", "cancelled", "refused")
_BARS: Final = "▁▂▃▄▅▆▇█"
_SPARK_ROWS: Final = 60


@frozen
class Figure:
    """One line: what it is about, and the text."""

    label: str
    text: str


def headline(document: Document) -> str:
    """What it is, and how it is: "worker 1.1.0: ready for 5 min"."""
    kind = document.text("kind") or "Vespa"
    state = document.text("state") or "no state"
    since = document.since("state_since_at")
    name = " ".join(filter(None, (kind, document.text("vespa_version"))))
    return f"{name}: {state}" + ("" if since is None else f" for {duration(since)}")


def problems(document: Document) -> list[tuple[str, str]]:
    """
    What is wrong: a severity ("error" or another word), and a sentence.

    A worker that is ready has a reason only if a backend of several is left out, which is among its problems.
    """
    reason = document.text("state_reason")
    found = [("error", reason)] if reason and document.text("state") != "ready" else []
    for row in document.rows("problems"):
        if isinstance(row.get("text"), str):
            found.append((str(row.get("severity", "")), row["text"]))
    return found


def figures(document: Document) -> list[Figure]:
    """The lines that have something to say, then those of members that are not known here."""
    lines = [Figure(label, text) for label, make in _LINES.items() if (text := make(document))]
    return lines + [Figure(name.replace("_", " "), _unknown(name, value, document)) for name, value in document.rest()]


def spark(values: list[float | None]) -> str:
    """The newest values as a row of bars; "" if there are none."""
    newest = values[-_SPARK_ROWS:]
    most = max((value for value in newest if value is not None), default=0.0)
    if most <= 0.0:
        return ""
    top = len(_BARS) - 1
    return "".join(" " if value is None else _BARS[round(max(0.0, value) / most * top)] for value in newest)


def _throughput(document: Document) -> str:
    now, measured = document.number("throughput_now"), document.number("benchmark_throughput")
    share = f" ({100 * now / measured:.0f}%)" if now is not None and measured else ""
    parts = [
        None if now is None else f"{number(now)} units/s",
        None if measured is None else f"of {number(measured)} units/s measured{share}",
        spark(document.history("throughput")),
    ]
    return "  ".join(filter(None, parts))


def _load(document: Document) -> str:
    load, wait = document.number("load"), document.number("estimated_wait_seconds")
    limit = document.number("estimated_wait_limit_seconds")
    of = "" if limit is None else f" of at most {duration(limit)}"
    return _joined(
        None if load is None else units_of_work(load),
        None if wait is None else f"estimated wait {duration(wait)}{of}",
    )


def _now(document: Document) -> str:
    queue, limit = document.number("requests_queued"), document.number("queue_limit")
    return _joined(
        _limited(document.number("requests_in_flight"), "in flight", document.number("concurrency_limit")),
        None
        if queue is None
        else f"{number(queue)} queued" + ("" if limit is None else f" of at most {number(limit)}"),
        _searches(document),
        _if_any(document.number("tunnels"), "tunnels"),
        plural(document.number("client_connections"), "connections"),
    )


def _searches(document: Document) -> str:
    waiting, longest = document.number("searches_waiting"), document.number("longest_search_seconds")
    if not waiting:
        return ""
    return f"{number(waiting)} waiting for a worker" + (f", the first for {duration(longest)}" if longest else "")


def _endpoint(document: Document) -> str:
    document.number("workers_known")  # they have a table
    return _joined(document.text("endpoint"), document.text("url") or document.text("public_url"))


def _second(document: Document) -> str:
    """The rates of the last second as counts: a second of the history is not exactly one second long."""
    values = {outcome: document.history(f"requests_{outcome}")[-1:] for outcome in OUTCOMES}
    parts = [
        f"{number(round(value[0]))} {outcome}" for outcome, value in values.items() if value and value[0] is not None
    ]
    return _joined(*parts)


def _totals(document: Document) -> str:
    totals = {outcome: document.number(f"requests_{outcome}_total") for outcome in OUTCOMES}
    parts = [f"{number(total)} {outcome}" for outcome, total in totals.items() if total is not None]
    since = document.since("started_at")
    return _joined(*parts) + ("" if since is None or not parts else f"  in {duration(since)}")


def _first_byte(document: Document) -> str:
    """The times of the newest second that has any."""
    shares = (("p50", "first_byte_p50_seconds"), ("p95", "first_byte_p95_seconds"))
    newest = {share: [each for each in document.history(name) if each is not None][-1:] for share, name in shares}
    return _joined(*(f"{share} {duration(value[0])}" for share, value in newest.items() if value))


def _lag(document: Document) -> str:
    newest = document.history("loop_lag_seconds")[-1:]
    return f"{duration(newest[0])} late" if newest and newest[0] is not None else ""


def _backend(document: Document) -> str:
    url, trouble = document.text("backend_url"), document.text("probe_trouble")
    if document.rows("backends"):
        url = ""  # several: they have a table
    open_ones, limit = document.number("backend_connections_open"), document.number("backend_connections_limit")
    since, took = document.since("probe_at"), document.number("probe_seconds")
    probe = "" if since is None else f"probed {age(since)}" + ("" if took is None else f" in {duration(took)}")
    return _joined(
        url,
        _limited(open_ones, "connection" if open_ones == 1 else "connections", limit),
        amount(document.number("backend_connections_idle"), "idle"),
        probe,
        trouble,
    )


def _benchmark(document: Document) -> str:
    figure, at_once = document.number("benchmark_throughput"), document.number("benchmark_concurrency")
    if figure is None:
        return next(reversed(document.texts("benchmark_lines")), "")
    since = document.since("benchmark_measured_at")
    return _joined(
        f"{number(figure)} units/s" + (f" with {number(at_once)} at once" if at_once else ""),
        document.text("benchmark_model"),
        None if since is None else f"measured {age(since)}",
    )


def _autoscaler(document: Document) -> str:
    since, undelivered = document.since("reports_delivered_at"), document.since("reports_undelivered_since_at")
    reported = document.number("reported_load")
    document.flag("reports")  # its other members say the same
    return _joined(
        None if since is None else f"last report {age(since)}",
        f"{units_of_work(reported)} in it" if reported else "",
        _if_any(document.number("reports_delivered_total"), "delivered"),
        _if_any(document.number("reports_failed_total"), "failed"),
        None if undelivered is None else f"one undelivered for {duration(undelivered)}",
        *document.texts("report_troubles"),
        document.text("autoscaler_url"),
        _if_any(document.number("autoscaler_responses_total"), "responses"),
        _if_any(document.number("autoscaler_failures_total"), "failures"),
        document.text("autoscaler_trouble"),
    )


def _key(document: Document) -> str:
    trouble = document.text("key_trouble")
    fetched = document.flag("key_fetched")
    if not document.flag("key_needed"):
        return ""
    return _joined("fetched" if fetched else "not fetched", trouble)


def _certificate(document: Document) -> str:
    at, file = document.number("certificate_expires_at"), document.text("certificate_file")
    if at is None:
        return file
    left = at - document.now
    return _joined(f"expires in {duration(left)}" if left > 0 else f"expired {age(-left)}", file)


_LINES: Final[Mapping[str, Callable[[Document], str]]] = {
    "endpoint": _endpoint,
    "throughput": _throughput,
    "estimated": feature_figures.estimate_line,
    "load": _load,
    "now": _now,
    "last second": _second,
    "since the start": _totals,
    "first byte": _first_byte,
    "event loop": _lag,
    "sessions": feature_figures.sessions_line,
    "jobs": feature_figures.jobs_line,
    "tokens": feature_figures.tokens_line,
    "backend": _backend,
    "affinity": feature_figures.affinity_line,
    "benchmark": _benchmark,
    "autoscaler": _autoscaler,
    "signing key": _key,
    "refused callers": feature_figures.refused_callers_line,
    "certificate": _certificate,
}


def _unknown(name: str, value: Any, document: Document) -> str:
    if isinstance(value, (str, bool)):
        return str(value).lower() if isinstance(value, bool) else value
    if name.endswith("_seconds"):
        return duration(value)
    return moment(value, document.now) if name.endswith("_at") else number(value)


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _limited(value: float | None, word: str, limit: float | None) -> str:
    """A number of something, with its limit if it has one; 0 is none."""
    return amount(value, word) + (f" of at most {number(limit)}" if value is not None and limit else "")


def _if_any(value: float | None, word: str) -> str:
    return plural(value, word) if value else ""
