"""The admission of a worker whose jobs outlive their requests: polls of a job need no slot."""

from __future__ import annotations

from typing import Any

from vespa.accounting.lifecycle import Event
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import Admission
from vespa.worker.admission import WorkerAdmission
from vespa.worker.engine.job_polls import JobPolls, Polls


class JobAdmission:
    """
    Admits polls without a slot, and records them without work and index. `worker` admits all other requests.

    A poll has the assignment of a request whose signature was verified. So it is neither verified nor a replay.
    """

    def __init__(self, worker: WorkerAdmission, polls: JobPolls) -> None:
        self._worker = worker
        self._polls = polls
        self._polling: dict[Exchange, Polls] = {}

    def verify(self, exchange: Exchange, content: Any) -> None:
        """Raises `Refusal`. What is too much without assignments is a request like any other."""
        polls = self._polls.find(exchange.head, content)
        if polls is None or (content is None and not self._polls.has_room(polls)):
            self._worker.verify(exchange, content)
            return
        self._worker.join_session(exchange, content)
        self._polls.begin(polls)
        self._polling[exchange] = polls

    def admit(self, exchange: Exchange, content: Any) -> bool:
        """As `WorkerAdmission.admit`. True for a poll."""
        polls = self._polling.get(exchange)
        if polls is None:
            return self._worker.admit(exchange, content)
        exchange.backend = polls.backend
        self._worker.admit_without_slot(exchange)
        return True

    # -- recording

    def advance(self, exchange: Exchange, event: Event) -> None:
        """Record an event that does not end the request."""
        self._worker.advance(exchange, event)

    def served(self, exchange: Exchange, success: bool) -> None:
        """Record that the whole response was passed on."""
        polls = self._ended(exchange)
        if polls is not None and success:
            self._polls.succeeded(polls, exchange.head)
        self._worker.served(exchange, success)

    def settle(self, exchange: Exchange, event: Event) -> None:
        """Record any other end."""
        self._ended(exchange)
        self._worker.settle(exchange, event)

    def release(self, exchange: Exchange) -> None:
        """Free the slot of an upgraded connection."""
        self._worker.release(exchange)

    def _ended(self, exchange: Exchange) -> Polls | None:
        polls = self._polling.pop(exchange, None)
        if polls is not None:
            polls.in_flight -= 1
        return polls


_check: type[Admission[Exchange]] = JobAdmission
