"""A whole body, opened. What it says is what it would say if it were read as it arrives (`unwrapping`)."""

from __future__ import annotations

from vespa.vast.auth import MAX_AUTH_DATA
from vespa.vast.envelope import MAX_MEMBERS, Envelope, NotJson, unwrap_json
from vespa.vast.envelope_prefix import EnvelopePrefix, invalid, scan
from vespa.vast.json_scanner import Scanner


def unwrap_body(raw: bytes, max_cost: float) -> Envelope:
    """
    Open a whole body. Raises Refusal 422 "invalid_envelope", whose fields name all that is wrong.

    The payload is the backend's to judge: `NaN`, half a surrogate pair or any other text that only a lenient parser
    takes goes on as it is, if its end can be found. All else is strict JSON in UTF-8.
    """
    try:
        return unwrap_json(raw, max_cost)
    except NotJson:
        return _read_members(raw, max_cost)


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
