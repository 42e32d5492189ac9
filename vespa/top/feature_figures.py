"""The lines of what a worker or a client may have: sessions, jobs, tokens, affinity, refused callers."""

from __future__ import annotations

from vespa.top.document import Document
from vespa.top.units import amount, duration, number, plural, units_of_work

_SESSION_RESULTS = ("opened", "refused", "ended", "expired", "drained", "lost")


def sessions_line(document: Document) -> str:
    """Sessions that are open, and what became of the others; "" if there never was one."""
    now, limit = document.number("sessions_known") or document.number("sessions"), document.number("sessions_limit")
    load, failed = document.number("session_load"), document.number("session_callbacks_failed_total")
    totals = [(document.number(f"sessions_{result}_total"), result) for result in _SESSION_RESULTS]
    if not now and not any(total for total, _ in totals):
        return ""
    return _joined(
        f"{number(now or 0.0)} open" + (f" of at most {number(limit)}" if limit else ""),
        f"{units_of_work(load)} held" if load else "",
        *(_if_any(total, result) for total, result in totals),
        f"on_close_route failed: {number(failed)}" if failed else "",
    )


def estimate_line(document: Document) -> str:
    """The throughput that served requests show, and that by which waits are estimated; "" if neither is estimated."""
    work, cost = document.number("throughput_estimate"), document.number("admission_throughput")
    return _joined(
        "" if work is None else f"{number(work)} units/s done",
        "" if cost is None else f"{number(cost)} units/s of cost, for estimated waits",
    )


def jobs_line(document: Document) -> str:
    """Jobs under way, and callers that left whose work is being stopped; "" if there are none."""
    known, jobs = document.number("jobs_known"), document.number("jobs")
    since, aborts = document.since("jobs_oldest_at"), document.number("aborts")
    return _joined(
        _if_any(known, "known"),
        _if_any(jobs, "under way") + ("" if since is None or not jobs else f", the oldest for {duration(since)}"),
        _if_any(aborts, "being stopped"),
    )


def tokens_line(document: Document) -> str:
    """Responses with and without tokens, and their work; "" if none are read."""
    is_read = document.flag("usage_read")
    measured, unmeasured = document.number("usage_measured_total"), document.number("usage_unmeasured_total")
    work, signed = document.number("usage_measured_work"), document.number("usage_signed_work")
    if not is_read:
        return ""
    return _joined(
        "" if measured is None else f"{plural(measured, 'responses')} measured",
        amount(unmeasured, "without"),
        "" if work is None or signed is None else f"{units_of_work(work)} for a cost of {number(signed)}",
    )


def affinity_line(document: Document) -> str:
    """Requests with the value by which they go to the same backend, and without; "" before there was one."""
    found, missing = document.number("affinity_found_total"), document.number("affinity_missing_total")
    if not found and not missing:
        return ""
    return _joined(f"{plural(found or 0.0, 'requests')} with the value", amount(missing, "without"))


def refused_callers_line(document: Document) -> str:
    """Callers without a valid assignment; no line while there is none."""
    return _joined(
        _if_any(document.number("refused_bad_signature_total"), "with a bad signature"),
        _if_any(document.number("refused_wrong_url_total"), "signed for another URL"),
        _if_any(document.number("refused_without_key_total"), "while there was no key"),
        _if_any(document.number("replays_total"), "repeated assignments"),
    )


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _if_any(value: float | None, word: str) -> str:
    return plural(value, word) if value else ""
