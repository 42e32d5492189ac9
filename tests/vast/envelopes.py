"""Strategies and shorthands for envelopes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth

MAX_COST = 1e9

AUTH_DATA: dict[str, Any] = {
    "cost": 100.0,
    "endpoint": "chat",
    "reqnum": 7,
    "request_idx": 42,
    "signature": "c2lnbmVk",
    "url": "https://192.0.2.1:40000",
}

# UTF-8 knows no surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=10,
)
spaces = st.text(" \t\r\n", max_size=3)
integers = st.integers(min_value=-(2**63), max_value=2**63 - 1)
auth_data = st.fixed_dictionaries(
    {
        "cost": st.integers(min_value=0, max_value=10**9) | st.floats(min_value=0, max_value=MAX_COST),
        "endpoint": texts,
        "reqnum": integers,
        "request_idx": integers,
        "signature": texts,
        "url": texts,
    }
)


@st.composite
def json_texts(draw: st.DrawFn, source: st.SearchStrategy[Any] = values) -> str:
    """One of the many ways to write a value as JSON."""
    separators = draw(spaces) + "," + draw(spaces), draw(spaces) + ":" + draw(spaces)
    return json.dumps(draw(source), ensure_ascii=draw(st.booleans()), separators=separators)


def an_auth(**changes: Any) -> Auth:
    """An Auth of AUTH_DATA, with changes."""
    data = AUTH_DATA | changes
    lexeme = json.dumps(data["cost"]).encode()
    members: dict[str, Any] = {"work": round(float(data["cost"]) * 1e6), "cost_lexeme": lexeme} | data
    return Auth(**members)


def fields(refusal: Refusal) -> dict[str, str]:
    """What a refused envelope's answer says of each field, as its reader sees it."""
    assert (refusal.status, refusal.code) == (422, "invalid_envelope")
    found: dict[str, str] = json.loads(refusal.body())["error"].get("fields", {})
    return found
