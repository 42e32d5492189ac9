"""Settings of a worker that are allowed, and that together do not do what they seem to."""

from __future__ import annotations

from vespa.config.reader import Reading
from vespa.config.worker import WorkerSettings


def hints(reading: Reading[WorkerSettings]) -> list[str]:
    """A sentence for each: what happens, and what to do."""
    values, given, name = reading.values, reading.sources, reading.name
    found = []
    if " " not in (values["backend_authorization"] or " ") and "backend_authorization" in given:
        found.append(
            f"{name('backend_authorization')} is a single word: most servers expect `Bearer KEY`, with the scheme"
        )
    if values["http_port"] == values["worker_port"] and not values["listen"]:
        found.append(
            f"{given['http_port']} is the worker's own port, so the backend cannot end sessions: choose another, or off"
        )
    return [*found, *_of_slots(reading), *_of_jobs(reading), *_of_measures(reading)]


def _of_slots(reading: Reading[WorkerSettings]) -> list[str]:
    values, name, found = reading.values, reading.name, []
    slots = values["max_concurrency"]
    if not values["allow_parallel"]:
        if slots > 1:
            found.append(
                f"{name('allow_parallel')} is false, so each backend gets one request at a time, and not the {slots} "
                f"of {name('max_concurrency')}: unset one of the two"
            )
        slots = 1
    limits = [(values[each], each) for each in ("connection_limit", "connection_limit_per_host") if values[each]]
    limit, limited = min(limits, default=(0, ""))
    if 0 < limit < slots:
        found.append(
            f"{name(limited)} is {limit}, and {name('max_concurrency')} is {slots}: of the requests that hold a slot "
            f"only {limit} have a connection. Raise it to {slots} at least, and by one for each WebSocket"
        )
    return found


def _of_jobs(reading: Reading[WorkerSettings]) -> list[str]:
    values, name = reading.values, reading.name
    jobs, abort = values["jobs"], values["abort"]
    if not jobs or jobs == abort:
        return []
    if not abort:
        return [
            f"{name('jobs')} is set and {name('abort')} is not: a caller that hangs up early leaves a job that nobody "
            "counts"
        ]
    if ":" in jobs or ":" in abort:
        return []  # a function of the user's
    return [
        f"{name('jobs')} is {jobs} and {name('abort')} is {abort}: a backend is one of them, so name the same twice"
    ]


def _of_measures(reading: Reading[WorkerSettings]) -> list[str]:
    values, name, found = reading.values, reading.name, []
    if values["recalibrate"] and not values["benchmark"]:
        found.append(
            f"{name('recalibrate')} changes nothing without {name('benchmark')}: what it estimates is a factor on that "
            "figure"
        )
    if "usage_count" in reading.sources and values["usage_count"] != "auto" and values["usage"] == "off":
        found.append(f"{name('usage_count')} has no effect: set {name('usage')}=openai too, or unset it")
    return found
