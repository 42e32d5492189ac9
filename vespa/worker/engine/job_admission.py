"""The admission of a worker whose jobs outlive their requests: polls of a job pass by themselves."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from vespa.accounting.lifecycle import Event
from vespa.proxy.exchange import Exchange
from vespa.worker.admission import WorkerAdmission
from vespa.worker.engine.job_polls import JobPolls, Polls


@define(eq=False, slots=False)
class JobAdmission(WorkerAdmission):
    """
    Admits polls without a slot, and records them without work and index.

    A poll has the assignment of a request whose signature was verified. So it is neither verified nor a replay.
    """

    polls: JobPolls = field(kw_only=True)
    _polling: dict[Exchange, Polls] = field(factory=dict, init=False)

    def verify(self, exchange: Exchange, content: Any) -> None:
        polls = self.polls.find(exchange.head, content)
        if polls is None or (content is None and not self.polls.has_room(polls)):
            super().verify(exchange, content)  # without assignments, what is too much is a request like any other
        else:
            if content is not None and content.session_id is not None and self.sessions is not None:
                exchange.session = self.sessions.session_of(content)
            self.polls.begin(polls)
            self._polling[exchange] = polls

    def admit(self, exchange: Exchange, content: Any) -> bool:
        if exchange not in self._polling:
            return super().admit(exchange, content)
        exchange.backend = self._polling[exchange].backend
        now = self._clock.seconds()
        refusal = self.unready()
        if refusal is not None:
            self.ledger.open(exchange, None, 0, now)
            raise refusal
        self.ledger.start(exchange, None, 0, now)
        if exchange.session is not None:
            self._enter(exchange)
        return True

    def served(self, exchange: Exchange, success: bool) -> None:
        self._ended(exchange)
        super().served(exchange, success)

    def settle(self, exchange: Exchange, event: Event) -> None:
        self._ended(exchange)
        super().settle(exchange, event)

    def _ended(self, exchange: Exchange) -> None:
        polls = self._polling.pop(exchange, None)
        if polls is not None:
            polls.in_flight -= 1
