"""What the autoscaler signs, and the strict grammar of its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from vespa.protocol.refusal import Refusal

MAX_AUTH_DATA = 16384
"""Bytes that auth_data may have."""
MAX_TEXT = 4096
"""Characters that a string of ours may have: the signature of an RSA key of 16384 bits has 2732."""
MAX_NUMBER = 64
"""Characters that a number of ours may have."""

is_number = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
"""Matches the text of a JSON number, whole."""
_is_integer = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})").fullmatch


class Auth(msgspec.Struct, frozen=True, gc=False):
    """
    What the autoscaler signed for one request; not verified yet.

    `cost` is the work in Vast's units, `work` the same in millionths, `cost_lexeme` its JSON text as it arrived:
    `100.0` and `100` are the same number, but sign differently.
    """

    cost: float
    work: int
    endpoint: str
    reqnum: int
    request_idx: int
    signature: str
    url: str
    cost_lexeme: bytes

    @property
    def lexemes(self) -> tuple[bytes, bytes, bytes]:
        """The JSON texts of cost, reqnum and request_idx, as they are signed."""
        return self.cost_lexeme, b"%d" % self.reqnum, b"%d" % self.request_idx


def parse_cost(text: str, max_cost: float) -> float:
    """As `cost_from`, of a text."""
    return cost_from(text.encode("utf-8", "replace"), max_cost)


def cost_from(text: bytes, max_cost: float) -> float:
    """Units of work from a JSON number, at most `max_cost` (finite). Raises ValueError that says what is wrong."""
    if len(text) > MAX_NUMBER or not is_number(text):
        raise ValueError("must be a number")
    cost = float(text)
    if 0.0 <= cost <= max_cost:
        return cost
    raise ValueError("must not be negative" if cost < 0.0 else f"must be at most {max_cost:g} (VESPA_MAX_COST)")


def integer_from(text: bytes) -> int:
    """A number of 64 bits from its decimal digits. Raises ValueError that says what is wrong."""
    if _is_integer(text) and -(2**63) <= (number := int(text)) < 2**63:
        return number
    raise ValueError("must be a whole number of 64 bits")


def invalid_envelope(place: str, wrong: Mapping[str, str]) -> Refusal:
    """The refusal of an envelope in the body or the query (`place`) that has something wrong in it."""
    message = f"the {place} is not a valid envelope"
    for name in ("auth_data.request_idx", "serverless_request_idx"):
        if wrong.get(name) == "is missing" and len(wrong) == 1:
            message += (
                "; /route/ gives a request_idx, which Vast's documented examples leave out: send all that it gave"
            )
    return Refusal(422, "invalid_envelope", message, fields=wrong)
