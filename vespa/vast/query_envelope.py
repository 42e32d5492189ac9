"""The envelope of requests without a JSON body: parameters of the query."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from vespa.accounting.workload import to_micros
from vespa.protocol.refusal import Refusal
from vespa.vast.auth import AUTH_MEMBERS, MAX_TEXT, Auth, cost_from, integer_from, invalid_envelope

_PREFIX = "serverless_"
_T = TypeVar("_T")


def _spelt(name: str) -> bytes:
    """A pattern for a name in which any letter may be escaped."""
    return b"".join(b"(?:%c|%%%x[%x%X])" % (ord(c), ord(c) >> 4, ord(c) & 15, ord(c) & 15) for c in name)


# One of Vast's parameters, with the "&" before it. Linear: a match can begin only where a parameter begins.
_OURS = re.compile(rb"(?:^|&)(?:(%b[^&]*)|%b(?:=[^&]*|(?=&|\Z)))" % (_spelt(_PREFIX), _spelt("api_key")))
_PARAMETERS_MAX = 64

_find_bad_escape = re.compile(rb"%(?![0-9A-Fa-f]{2})").search


def unwrap_query(query: bytes, max_cost: float) -> tuple[Auth | None, bytes]:
    """
    Split a query into Vast's parameters (None if there are none) and the caller's, which exclude any `api_key`.

    Names are compared after decoding. Raises Refusal 422 "invalid_envelope", whose fields name all errors.
    """
    ours: dict[str, bytes] = {}
    wrong: dict[str, str] = {}
    signed, others = divide(query)
    if len(signed) > _PARAMETERS_MAX:
        raise invalid_envelope("query", {_PREFIX + "*": f"are more than {_PARAMETERS_MAX}"})
    for part in signed:
        encoded, _, value = part.partition(b"=")
        key = (unquote_to_bytes(encoded) if b"%" in encoded else encoded).decode("utf-8", "replace")
        if key in ours:
            wrong[key] = "appears more than once"
        ours[key] = value
    auth = _read_parameters(ours, max_cost, wrong) if ours else None
    if wrong:
        raise invalid_envelope("query", wrong)
    return auth, others


def callers_own(query: bytes) -> bytes:
    """A query without the parameters that belong to Vast: `serverless_*` and `api_key`."""
    if b"serverless_" not in query and b"api_key" not in query and b"%" not in query:
        return query
    return divide(query)[1]


def divide(query: bytes, few: int = _PARAMETERS_MAX) -> tuple[list[bytes], bytes]:
    """
    The `serverless_*` parameters of a query, and the query without them and `api_key`.

    Up to a `few` parameters are examined one by one, which is fast for so many. For more of them one pattern is
    faster. Both give the same result.
    """
    if query.count(b"&") >= few:
        first = _OURS.match(query)
        kept = _OURS.sub(b"", query)
        # A match at the beginning has no "&" before it, so the "&" after it remains.
        if first is not None and query[:1] != b"&":
            kept = kept[1:]
        return [found[1] for found in _OURS.finditer(query) if found[1] is not None], kept
    ours, others = [], []
    for part in query.split(b"&"):
        name = part.partition(b"=")[0]
        if b"%" in name:
            name = unquote_to_bytes(name[: 3 * len(_PREFIX)])  # the rest of the name does not matter
        if name.startswith(b"serverless_"):
            ours.append(part)
        elif name != b"api_key":
            others.append(part)
    return ours, b"&".join(others)


def unsigned_query() -> Refusal:
    """The refusal of a query that should carry an assignment and has none of its parameters: names all of them."""
    return invalid_envelope("query", {_PREFIX + name: "is missing" for name in AUTH_MEMBERS})


def _read_parameters(ours: dict[str, bytes], max_cost: float, wrong: dict[str, str]) -> Auth | None:
    """Read the parameters of a query; None after an error, which is added to `wrong`."""

    def read(name: str, parse: Callable[[bytes], _T]) -> _T | None:
        try:
            return parse(_unquote(ours[_PREFIX + name]))
        except KeyError:
            wrong[_PREFIX + name] = "is missing"
        except ValueError as error:
            wrong[_PREFIX + name] = str(error)
        return None

    cost = read("cost", lambda text: (cost_from(text, max_cost), text))
    endpoint = read("endpoint", _parse_text)
    reqnum = read("reqnum", integer_from)
    request_idx = read("request_idx", integer_from)
    signature = read("signature", _parse_text)
    url = read("url", _parse_text)
    session_id = read("session_id", _parse_text) if _PREFIX + "session_id" in ours else None
    if cost is None or endpoint is None or reqnum is None or request_idx is None or signature is None or url is None:
        return None
    units, lexeme = cost
    return Auth(
        units,
        to_micros(units),
        endpoint,
        reqnum,
        request_idx,
        signature.replace(" ", "+"),  # base64 has no spaces: each was an unescaped plus sign
        url,
        lexeme,
        session_id,
    )


def _unquote(value: bytes) -> bytes:
    value = value.replace(b"+", b" ")
    if b"%" not in value:
        return value
    if _find_bad_escape(value):
        raise ValueError("has a malformed percent escape")
    return unquote_to_bytes(value)


def _parse_text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if len(text) > MAX_TEXT:
        raise ValueError(f"must be at most {MAX_TEXT} characters")
    return text
