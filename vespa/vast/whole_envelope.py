"""Opens a whole envelope, with the same result as reading it as it arrives (`envelope_stream`)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from vespa.accounting.workload import MICROS
from vespa.vast.auth import MAX_AUTH_DATA, MAX_NUMBER, Auth, invalid_envelope, is_number
from vespa.vast.envelope import (
    ABSENT,
    MALFORMED,
    MAX_MEMBERS,
    Envelope,
    EnvelopeMembers,
    decode_all_members,
    decode_members,
    decode_signed,
    read_auth,
    read_session_id,
)
from vespa.vast.envelope_prefix import EnvelopePrefix, invalid, scan
from vespa.vast.json_scanner import Scanner

_FRAME: Final = len('{"auth_data":,"payload":}')
_SESSION_FRAME: Final = len(',"session_id":')
_REPETITION: Final = 6
"""
If fewer bytes than this remain beside the known members, no name occurs twice (`"":0,"":0,` is the shortest repetition)
and every name is UTF-8. Most envelopes leave fewer.
"""

_COSTS_MAX: Final = 1024
_costs: Final[dict[bytes, tuple[float, int]]] = {}
"""Recent costs by their JSON text: units of work, and millionths. At most `_COSTS_MAX`, each text limited."""

_decode_name: Final = msgspec.json.Decoder(str).decode
_match_member: Final = re.compile(rb'[ \t\n\r]*[{,][ \t\n\r]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\n\r]*:[ \t\n\r]*').match


class _NotJson(ValueError):
    """A body that is not a JSON object as a whole. It is still an envelope if only its payload is not JSON."""


def unwrap_body(raw: bytes, max_cost: float) -> Envelope:
    """
    Open a whole envelope. Raises Refusal 422 "invalid_envelope", whose fields name all errors.

    The backend judges the payload: `NaN`, half a surrogate pair or any other text that only a lenient parser
    accepts passes unchanged, if its end can be found. Everything else must be strict JSON in UTF-8.
    """
    # The usual envelope, in one step. `unwrap_any_body` handles all others.
    try:
        members = decode_members(raw)
        auth_data, payload = bytes(members.auth_data), bytes(members.payload)
        room = len(raw) - _FRAME - len(auth_data) - len(payload)
        session_id: str | None = None
        wrong: dict[str, str] | None = None
        if members.session_id is not ABSENT:
            session, wrong = bytes(members.session_id), {}
            room -= _SESSION_FRAME + len(session)
            session_id = read_session_id(session, wrong)
        if room < _REPETITION and payload and len(auth_data) <= MAX_AUTH_DATA and not wrong:
            auth_data.decode()  # the decoder does not check the members that it skips
            signed = decode_signed(auth_data)
            text = bytes(signed.cost)
            known = _costs.get(text)
            if (
                known is None
                and len(text) <= MAX_NUMBER
                and is_number(text)
                and 0.0 <= (cost := float(text)) <= max_cost
            ):
                if len(_costs) >= _COSTS_MAX:
                    _costs.clear()
                known = _costs[text] = cost, round(cost * MICROS)
            if known is not None and known[0] <= max_cost:
                cost, work = known
                auth = Auth(
                    cost, work, signed.endpoint, signed.reqnum, signed.request_idx, signed.signature, signed.url, text
                )
                return Envelope(auth, payload, session_id)
    except MALFORMED:
        pass
    return unwrap_any_body(raw, max_cost)


def unwrap_any_body(raw: bytes, max_cost: float) -> Envelope:
    """Like `unwrap_body`, step by step, for any envelope."""
    try:
        return _unwrap_json(raw, max_cost)
    except _NotJson:
        return _read_members(raw, max_cost)


def _unwrap_json(raw: bytes, max_cost: float) -> Envelope:
    """
    Open an envelope that is JSON as a whole, with its payload. Raises `_NotJson` if it is not.

    Raises Refusal 422 "invalid_envelope", whose fields name all errors.
    """
    try:
        members = decode_members(raw)
    except MALFORMED:
        raise _NotJson from None
    head = bytes(members.auth_data)
    payload = bytes(members.payload)
    session = bytes(members.session_id)
    wrong: dict[str, str] = {}
    # The bytes beside the known members: white space, other members, repeated members.
    room = len(raw) - _FRAME - len(head) - len(payload)
    if session:
        room -= _SESSION_FRAME + len(session)
    if room >= _REPETITION:
        _check_members(raw, wrong)
    auth = read_auth(head, max_cost, wrong)
    session_id = read_session_id(session, wrong) if session else None
    if not payload:
        wrong["payload"] = "is missing"
    if auth is None or wrong:
        raise invalid_envelope("body", wrong)
    return Envelope(auth, payload, session_id)


def _check_members(raw: bytes, wrong: dict[str, str]) -> None:
    """
    Find a name that occurs twice in a valid JSON object, and add it to `wrong`.

    The decoder keeps the last of equal names. So each name must occur once only, with the value that was kept.
    """
    try:
        values = decode_all_members(raw)
    except MALFORMED:
        wrong["body"] = "has a name that is not UTF-8"
        return
    if len(values) > MAX_MEMBERS:
        wrong["body"] = f"has more than {MAX_MEMBERS} members"
        return
    position = 0
    while member := _match_member(raw, position):
        name = _decode_name(member[1])
        value = bytes(values.pop(name, ABSENT))
        start = member.end()
        position = start + len(value)
        if name not in EnvelopeMembers.__struct_fields__:
            try:
                value.decode()  # the decoder does not check the strings that it skips
            except UnicodeDecodeError:
                wrong[name] = "is not valid JSON"
                return
        # Of two numbers, the first may begin with all of the second, and continue.
        if not value or not raw.startswith(value, start) or raw[position] not in b",} \t\n\r":
            wrong[name] = "appears more than once"
            return


def _read_members(raw: bytes, max_cost: float) -> Envelope:
    members = EnvelopePrefix(max_cost, len(raw), MAX_AUTH_DATA, MAX_MEMBERS)
    start = members.feed(raw)
    end = scan(Scanner(), raw, start, len(raw)) if start >= 0 else -1
    if end >= 0:
        members.resume()
        members.feed(raw[end:])
    if members.auth is None or not members.closed:
        raise invalid("the body ended before the envelope did")
    return Envelope(members.auth, raw[start:end], members.session_id)
