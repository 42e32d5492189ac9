"""The data that the autoscaler signs, and the strict grammar of its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from vespa.protocol.refusal import Refusal

MAX_AUTH_DATA = 16384  # limit of auth_data, in bytes
MAX_TEXT = 4096
"""Limit of a string, in characters. The signature of an RSA key of 16384 bits has 2732."""
AUTH_MEMBERS: Final = ("cost", "endpoint", "reqnum", "request_idx", "signature", "url")
"""The names of what the autoscaler returns for one request. A request has all of them."""
MAX_NUMBER = 64  # limit of a number, in characters

is_number = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
"""Matches the whole text of a JSON number."""
_is_integer = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})").fullmatch


class Auth(msgspec.Struct, frozen=True, gc=False):
    """
    The data that the autoscaler signed for one request, before verification.

    `cost` is in Vast's units, `work` is the same in millionths, and `cost_lexeme` is its JSON text as it arrived:
    `100.0` and `100` are the same number, but their signatures differ. `session_id` is not signed: it names the session
    that the request belongs to, None if it belongs to none.
    """

    cost: float
    work: int
    endpoint: str
    reqnum: int
    request_idx: int
    signature: str
    url: str
    cost_lexeme: bytes
    session_id: str | None = None

    @property
    def lexemes(self) -> tuple[bytes, bytes, bytes]:
        """The signed JSON texts of cost, reqnum and request_idx."""
        return self.cost_lexeme, b"%d" % self.reqnum, b"%d" % self.request_idx


def parse_cost(text: str, max_cost: float) -> float:
    """Like `cost_from`, for a str."""
    return cost_from(text.encode("utf-8", "replace"), max_cost)


def cost_from(text: bytes, max_cost: float) -> float:
    """Units of work from a JSON number, at most `max_cost` (finite). Raises ValueError with the reason."""
    if len(text) > MAX_NUMBER or not is_number(text):
        raise ValueError("must be a number")
    cost = float(text)
    if 0.0 <= cost <= max_cost:
        return cost
    raise ValueError("must not be negative" if cost < 0.0 else f"must be at most {max_cost:g} (VESPA_MAX_COST)")


def integer_from(text: bytes) -> int:
    """A 64-bit integer from its decimal digits. Raises ValueError with the reason."""
    if _is_integer(text) and -(2**63) <= (number := int(text)) < 2**63:
        return number
    raise ValueError("must be a whole number of 64 bits")


UNSIGNED: Final = (
    "; it has no assignment of the autoscaler: send it through `vespa-proxy client`, or with what POST /route/ returned"
)


def invalid_envelope(place: str, wrong: Mapping[str, str]) -> Refusal:
    """The refusal of a malformed envelope in the body or the query (`place`)."""
    message = f"the {place} is not a valid envelope"
    nothing_of_it = len(wrong) == len(AUTH_MEMBERS) and set(wrong.values()) == {"is missing"}
    if wrong.get("auth_data") == "is missing" or nothing_of_it:
        message += UNSIGNED
    for name in ("auth_data.request_idx", "serverless_request_idx"):
        if wrong.get(name) == "is missing" and len(wrong) == 1:
            message += (
                "; /route/ returns a request_idx, although Vast's examples leave it out: send all that it returned"
            )
    return Refusal(422, "invalid_envelope", message, fields=wrong)
