"""Which responses are read for their tokens, and what their tokens change in the accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vespa.accounting.ledger import Ledger
from vespa.accounting.workload import MAX_COST, MICROS
from vespa.protocol.content import content_coding, media_type
from vespa.protocol.response_head import CHUNKED, NO_BODY, ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponseReader
from vespa.worker.usage.counts import Counts
from vespa.worker.usage.reader import LIMIT, Form, UsageListener, UsageReader

FORMS: Final = {
    b"application/json": Form.WHOLE,
    b"text/event-stream": Form.EVENTS,
    b"application/x-ndjson": Form.LINES,
    b"application/jsonl": Form.LINES,
}
"""The media types that are read."""

HEADS_MAX: Final = 256
"""Heads whose media type is remembered."""

FreeLoad = Callable[[Exchange, int], object]


class UsageMeter:
    """
    Measures the work of requests by the tokens that their responses report. One token is one unit of work.

    `unit`: "completion" counts the generated tokens, "total" those of the prompt too. `most` is the highest work of one
    response, in units. One that reports more is not believed, and counts with its cost. `free_load` is called with a
    request and the part of its work that is done since its start, in millionths; by default it is the ledger's.

    `measured` and `unmeasured` are the numbers of responses that were read and that did, or did not, report their
    tokens. Their requests' costs and the tokens are in millionths, of the measured ones only.
    """

    def __init__(self, ledger: Ledger, unit: str, most: float = MAX_COST, free_load: FreeLoad | None = None) -> None:
        self.most = most
        self.measured = self.unmeasured = 0
        self.measured_work = self.signed_work = 0
        self._ledger = ledger
        self._free_load = free_load or ledger.free_load
        self.unit = unit
        self._forms: dict[bytes, Form | None] = {}  # by the fields of recent heads

    @property
    def known_heads(self) -> int:
        """The number of heads whose media type is remembered."""
        return len(self._forms)

    def reader(self, exchange: Exchange, head: ResponseHead, length: int) -> ResponseReader | None:
        """The reader of a response: `length` is its Content-Length, or -1. None: it is not read."""
        if length > LIMIT or head.status >= 300 or head.framing == NO_BODY or exchange.head.head_only:
            return None
        known = self._forms
        fields = head.fields_block
        form = known.get(fields)
        if form is None:
            if fields in known:
                return None
            if len(known) >= HEADS_MAX:
                known.clear()
            form = known[fields] = form_of(head)
            if form is None:
                return None
        return UsageReader(form, head.framing == CHUNKED and not exchange.content_only, _Account(self, exchange))

    def progress(self, exchange: Exchange, counts: Counts) -> None:
        """The backend has done a part of the work: that is no longer in the load."""
        self._free_load(exchange, exchange.work if counts.final else counts.of(self.unit) * MICROS)

    def ended(self, exchange: Exchange, counts: Counts | None) -> None:
        """The response is complete: its work is that of its tokens, if it reports them."""
        units = counts.of(self.unit) if counts is not None else 0
        if 0 < units <= self.most:
            self._ledger.measure(exchange, units * MICROS)
            self.measured += 1
            self.measured_work += units * MICROS
            self.signed_work += exchange.work
        else:
            self.unmeasured += 1


class _Account(UsageListener):
    """The account of one request, as its response's reader knows it."""

    __slots__ = ("_meter", "_exchange")

    def __init__(self, meter: UsageMeter, exchange: Exchange) -> None:
        self._meter = meter
        self._exchange = exchange

    def progress(self, counts: Counts) -> None:
        self._meter.progress(self._exchange, counts)

    def ended(self, counts: Counts | None) -> None:
        self._meter.ended(self._exchange, counts)


def form_of(head: ResponseHead) -> Form | None:
    """How the body has its JSON; None if it has none, or it is compressed."""
    return None if content_coding(head.lines) else FORMS.get(media_type(head.lines))
