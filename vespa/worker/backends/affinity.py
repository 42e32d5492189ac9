"""Affinity: the value of a request by which it goes to the same backend as others, and how many requests have one."""

from __future__ import annotations

from vespa.accounting.affinity import number_of
from vespa.protocol.affinity_key import AffinityKey
from vespa.proxy.exchange import Exchange


class Affinity:
    """
    Reads the value that `key` names. `found` requests had it, `missing` ones had not.

    A request counts once, when it comes, although its value is read again if it moves to another backend. Requests of
    sessions do not count: nothing asks for their value.
    """

    def __init__(self, key: AffinityKey) -> None:
        self.key = key
        self.found = 0
        self.missing = 0

    def number(self, exchange: Exchange) -> int | None:
        """A number of 64 bits for the request's value; None if it has none."""
        key = self.key
        if key.field:
            text = key.in_fields(exchange.head.headers)
        else:
            text = key.in_body(exchange.whole_payload)
        if exchange.selection is None:  # otherwise a backend was tried, and it is counted
            if text is None:
                self.missing += 1
            else:
                self.found += 1
        return None if text is None else number_of(text)
