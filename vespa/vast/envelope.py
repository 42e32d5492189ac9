"""
The envelope of a request to a worker: the signed data, and the payload for the backend.

The parser only looks for the end of the payload, and passes on the received bytes.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from vespa.accounting.workload import to_micros
from vespa.vast.auth import MAX_AUTH_DATA, MAX_TEXT, Auth, cost_from, invalid_envelope

MAX_MEMBERS = 64  # the number of members that the body may have


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """An opened envelope; `payload` is the slice of the body for the backend."""

    auth: Auth
    payload: bytes
    session_id: str | None


_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
ABSENT = msgspec.Raw(b"")


class EnvelopeMembers(msgspec.Struct, gc=False):
    """The known members of a body, each as its received bytes; b"" if it is missing."""

    auth_data: msgspec.Raw = ABSENT
    payload: msgspec.Raw = ABSENT
    session_id: msgspec.Raw = ABSENT


class SignedMembers(msgspec.Struct, gc=False):
    """The known members of auth_data; the cost as its received bytes."""

    cost: msgspec.Raw
    endpoint: _Text
    reqnum: _Integer
    request_idx: _Integer
    signature: _Text
    url: _Text


decode_members = msgspec.json.Decoder(EnvelopeMembers).decode
decode_all_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_signed = msgspec.json.Decoder(SignedMembers).decode
_decode_text = msgspec.json.Decoder(_Text).decode
_decode_integer = msgspec.json.Decoder(_Integer).decode
# Deep nesting exhausts the stack, and a name may not be UTF-8.
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_begins_envelope = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"auth_data"[ \t\r\n]*:').match


def looks_like_envelope(raw: bytes) -> bool:
    """
    Whether a body is a JSON object with a member auth_data, valid or not.

    The payload may be the reason that a body is not JSON. Such a body must begin with auth_data.
    """
    try:
        return bool(bytes(decode_members(raw).auth_data))
    except MALFORMED:
        return begins_envelope(raw)


def begins_envelope(raw: bytes) -> bool:
    """Whether a body begins as an object whose first member is auth_data."""
    return _begins_envelope(raw) is not None


def decode_auth(raw: bytes, max_cost: float) -> Auth:
    """Read the bytes of an auth_data. Raises Refusal 422 "invalid_envelope", whose fields name all errors."""
    wrong: dict[str, str] = {}
    auth = read_auth(raw, max_cost, wrong)
    if auth is None:
        raise invalid_envelope("body", wrong)
    return auth


def decode_session_id(raw: bytes) -> str | None:
    """Read the bytes of a session_id. Raises Refusal 422 "invalid_envelope", whose fields name the error."""
    wrong: dict[str, str] = {}
    session_id = read_session_id(raw, wrong)
    if wrong:
        raise invalid_envelope("body", wrong)
    return session_id


def read_auth(raw: bytes, max_cost: float, wrong: dict[str, str]) -> Auth | None:
    """Read an auth_data; None after an error, which is added to `wrong`."""
    try:
        if len(raw) > MAX_AUTH_DATA:
            raise ValueError
        raw.decode()  # the decoder does not check the members that it skips
        head = decode_signed(raw)
        cost, lexeme = _decode_cost(bytes(head.cost), max_cost)
    except (*MALFORMED, ValueError):
        _explain_auth(raw, max_cost, wrong)
        return None
    return Auth(cost, to_micros(cost), head.endpoint, head.reqnum, head.request_idx, head.signature, head.url, lexeme)


def _explain_auth(raw: bytes, max_cost: float, wrong: dict[str, str]) -> None:
    """Add all errors in a malformed auth_data to `wrong`."""
    if len(raw) > MAX_AUTH_DATA:
        wrong["auth_data"] = f"must be at most {MAX_AUTH_DATA} bytes"
        return
    try:
        raw.decode()
        values = decode_all_members(raw)
    except MALFORMED:
        wrong["auth_data"] = "must be a JSON object in UTF-8" if raw else "is missing"
        return
    for name in SignedMembers.__struct_fields__:
        value = bytes(values.get(name, ABSENT))
        try:
            if name == "cost":
                _decode_cost(value, max_cost)
            elif name in ("reqnum", "request_idx"):
                _decode_integer(value)
            else:
                _decode_text(value)
        except (*MALFORMED, ValueError) as error:
            wrong[f"auth_data.{name}"] = str(error) if value else "is missing"


def read_session_id(raw: bytes, wrong: dict[str, str]) -> str | None:
    if raw != b"null":
        try:
            return _decode_text(raw)
        except MALFORMED:
            wrong["session_id"] = f"must be null or a string of at most {MAX_TEXT} characters"
    return None


def _decode_cost(token: bytes, max_cost: float) -> tuple[float, bytes]:
    """The cost in a JSON number, or in a string that holds one, and its signed text."""
    if token[:1] != b'"':
        return cost_from(token, max_cost), token
    text = _decode_text(token).encode()
    return cost_from(text, max_cost), b'"%s"' % text
