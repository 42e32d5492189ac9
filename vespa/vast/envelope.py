"""
The envelope that a request to a worker arrives in: what the autoscaler signed, and what is meant for the backend.

The payload is only looked at to find its end, and handed on as the very bytes that came.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from vespa.accounting.workload import to_micros
from vespa.vast.auth import MAX_AUTH_DATA, MAX_TEXT, Auth, cost_from, invalid_envelope, parse_cost
from vespa.vast.query_envelope import unwrap_query

__all__ = [
    "Auth",
    "Envelope",
    "decode_auth",
    "decode_session_id",
    "looks_like_envelope",
    "parse_cost",
    "unwrap_json",
    "unwrap_query",
]

MAX_MEMBERS = 64
"""Members that the body may have."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """An opened body; `payload` is the slice of it that the backend gets."""

    auth: Auth
    payload: bytes
    session_id: str | None


_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_ABSENT = msgspec.Raw(b"")


class _Members(msgspec.Struct):
    auth_data: msgspec.Raw = _ABSENT
    payload: msgspec.Raw = _ABSENT
    session_id: msgspec.Raw = _ABSENT


class _Head(msgspec.Struct):
    cost: msgspec.Raw
    endpoint: _Text
    reqnum: _Integer
    request_idx: _Integer
    signature: _Text
    url: _Text


_decode_members = msgspec.json.Decoder(_Members).decode
_decode_all_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_text = msgspec.json.Decoder(_Text).decode
_decode_name = msgspec.json.Decoder(str).decode
_decode_integer = msgspec.json.Decoder(_Integer).decode
# Nesting can exhaust the stack, and a name can be no UTF-8.
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_begins_envelope = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"auth_data"[ \t\r\n]*:').match
_match_member = re.compile(rb'[ \t\n\r]*[{,][ \t\n\r]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\n\r]*:[ \t\n\r]*').match


class NotJson(ValueError):
    """A body that is no JSON object as a whole; an envelope all the same, if that is its payload's fault alone."""


def looks_like_envelope(raw: bytes) -> bool:
    """
    Whether a body is a JSON object with an auth_data in it, be it a good one or not.

    Where it is not JSON, its payload may be to blame: then it has to begin with auth_data.
    """
    try:
        return bool(bytes(_decode_members(raw).auth_data))
    except _MALFORMED:
        return begins_envelope(raw)


def begins_envelope(raw: bytes) -> bool:
    """Whether a body begins as an object whose first member is auth_data."""
    return _begins_envelope(raw) is not None


def unwrap_json(raw: bytes, max_cost: float) -> Envelope:
    """
    Open a whole body that is JSON, its payload included; `NotJson` if it is not.

    Raises Refusal 422 "invalid_envelope", whose fields name all that is wrong.
    """
    try:
        members = _decode_members(raw)
    except _MALFORMED:
        raise NotJson from None
    head = bytes(members.auth_data)
    payload = bytes(members.payload)
    session = bytes(members.session_id)
    wrong: dict[str, str] = {}
    # What these do not account for: white space, other members, a member's other occurrence. Less than six bytes hold
    # neither a repetition (`"":0,"":0,` is the shortest) nor a name that is no UTF-8, and most envelopes leave less.
    room = len(raw) - len('{"auth_data":,"payload":}') - len(head) - len(payload)
    if session:
        room -= len(',"session_id":') + len(session)
    if room >= 6:
        _check_members(raw, wrong)
    auth = _read_auth(head, max_cost, wrong)
    session_id = _read_session_id(session, wrong) if session else None
    if not payload:
        wrong["payload"] = "is missing"
    if auth is None or wrong:
        raise invalid_envelope("body", wrong)
    return Envelope(auth, payload, session_id)


def decode_auth(raw: bytes, max_cost: float) -> Auth:
    """Read the bytes of an auth_data. Raises Refusal 422 "invalid_envelope", whose fields name all that is wrong."""
    wrong: dict[str, str] = {}
    auth = _read_auth(raw, max_cost, wrong)
    if auth is None:
        raise invalid_envelope("body", wrong)
    return auth


def decode_session_id(raw: bytes) -> str | None:
    """Read the bytes of a session_id. Raises Refusal 422 "invalid_envelope", whose fields name it."""
    wrong: dict[str, str] = {}
    session_id = _read_session_id(raw, wrong)
    if wrong:
        raise invalid_envelope("body", wrong)
    return session_id


def _check_members(raw: bytes, wrong: dict[str, str]) -> None:
    """
    Note a name that occurs twice in a valid JSON object.

    The decoder keeps the last of equal names, so each must be met once only, and with the value that was kept.
    """
    try:
        values = _decode_all_members(raw)
    except _MALFORMED:
        wrong["body"] = "has a name that is not UTF-8"
        return
    if len(values) > MAX_MEMBERS:
        wrong["body"] = f"has more than {MAX_MEMBERS} members"
        return
    position = 0
    while member := _match_member(raw, position):
        name = _decode_name(member[1])
        value = bytes(values.pop(name, _ABSENT))
        start = member.end()
        position = start + len(value)
        if name not in _Members.__struct_fields__:
            try:
                value.decode()  # the decoder does not look into the strings that it skips
            except UnicodeDecodeError:
                wrong[name] = "is not valid JSON"
                return
        # Of two numbers the first may begin with all of the second, and go on.
        if not value or not raw.startswith(value, start) or raw[position] not in b",} \t\n\r":
            wrong[name] = "appears more than once"
            return


def _read_auth(raw: bytes, max_cost: float, wrong: dict[str, str]) -> Auth | None:
    """What an auth_data says; None if anything is wrong with it, which is noted."""
    try:
        if len(raw) > MAX_AUTH_DATA:
            raise ValueError
        raw.decode()  # the decoder does not look into what it skips
        head = _decode_head(raw)
        cost, lexeme = _decode_cost(bytes(head.cost), max_cost)
    except (*_MALFORMED, ValueError):
        _explain_auth(raw, max_cost, wrong)
        return None
    return Auth(
        cost,
        to_micros(cost),
        head.endpoint,
        head.reqnum,
        head.request_idx,
        head.signature,
        head.url,
        lexeme,
    )


def _explain_auth(raw: bytes, max_cost: float, wrong: dict[str, str]) -> None:
    """Note all that is wrong with an auth_data that could not be read."""
    if len(raw) > MAX_AUTH_DATA:
        wrong["auth_data"] = f"must be at most {MAX_AUTH_DATA} bytes"
        return
    try:
        raw.decode()
        values = _decode_all_members(raw)
    except _MALFORMED:
        wrong["auth_data"] = "must be a JSON object in UTF-8" if raw else "is missing"
        return
    for name in _Head.__struct_fields__:
        value = bytes(values.get(name, _ABSENT))
        try:
            if name == "cost":
                _decode_cost(value, max_cost)
            elif name in ("reqnum", "request_idx"):
                _decode_integer(value)
            else:
                _decode_text(value)
        except (*_MALFORMED, ValueError) as error:
            wrong[f"auth_data.{name}"] = str(error) if value else "is missing"


def _read_session_id(raw: bytes, wrong: dict[str, str]) -> str | None:
    if raw != b"null":
        try:
            return _decode_text(raw)
        except _MALFORMED:
            wrong["session_id"] = f"must be null or a string of at most {MAX_TEXT} characters"
    return None


def _decode_cost(token: bytes, max_cost: float) -> tuple[float, bytes]:
    """The cost that a JSON number, or a string that holds one, says; and how it is signed."""
    if token[:1] != b'"':
        return cost_from(token, max_cost), token
    text = _decode_text(token).encode()
    return cost_from(text, max_cost), b'"%s"' % text
