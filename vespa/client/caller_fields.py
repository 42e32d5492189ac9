"""The header fields of a caller's request, as the client proxy uses them."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vespa.protocol.fields import folded
from vespa.protocol.request_head import RequestHead

PRIVATE: Final = frozenset((b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie"))
"""Fields besides Authorization with credentials for this proxy, or for other servers on localhost."""

_JSON: Final = frozenset((b"application/json", b"text/json"))
_PIN_FIELDS: Final = {b"x-vespa-session": "session", b"x-vespa-session-lifetime": "lifetime", b"x-vespa-job": "job"}
_KNOWN_MAX: Final = 512
_known: Final[dict[bytes, CallerFields]] = {}


@frozen
class PinFields:
    """
    The values of X-Vespa-Session, X-Vespa-Session-Lifetime and X-Vespa-Job; None for each that is missing.

    A field that occurs twice has both values, which no check accepts.
    """

    session: bytes | None = None
    lifetime: bytes | None = None
    job: bytes | None = None


@frozen
class CallerFields:
    """
    The parsed fields of one request.

    `block` are the lines to pass on; `cost` the text of X-Serverless-Cost, None if there is none; `json` whether the
    body is JSON without a content coding; `stream` whether the request names server-sent events in Accept.
    `pin_fields`: what pins the request to one worker; None for most.
    """

    block: bytes
    cost: bytes | None
    json: bool
    stream: bool
    pin_fields: PinFields | None = None


def fields_of(head: RequestHead) -> CallerFields:
    """Parse a head's fields. Recent results are kept, because programs repeat their heads."""
    block = head.fields_block
    known = _known.get(block)
    if known is None:
        known = _understand(head.passing)
        if len(block) <= 4096:  # bounded, both ways
            if len(_known) >= _KNOWN_MAX:
                _known.clear()
            _known[block] = known
    return known


def _understand(lines: list[bytes]) -> CallerFields:
    passing = []
    cost: bytes | None = None
    json = stream = coded = False
    pin_fields: dict[str, bytes] = {}
    for line in lines:
        at = line.find(b":")
        name, value = line[:at].lower(), line[at + 1 :].strip(b" \t")
        if name == b"x-serverless-cost":
            cost = value
        elif name in _PIN_FIELDS:
            known = pin_fields.get(_PIN_FIELDS[name])
            pin_fields[_PIN_FIELDS[name]] = value if known is None else known + b", " + value
        elif (like := folded(name)) in PRIVATE or like.startswith((b"x-serverless-", b"x-vespa-")):
            continue
        else:
            passing.append(line)
            if name == b"content-type":
                kind = value.partition(b";")[0].strip().lower()
                json = kind in _JSON or kind.endswith(b"+json")
            elif name == b"content-encoding":
                coded = value.lower() not in (b"", b"identity")
            elif name == b"accept":
                stream = stream or b"text/event-stream" in value.lower()
    block = b"\r\n".join(passing) + b"\r\n" if passing else b""
    return CallerFields(block, cost, json and not coded, stream, PinFields(**pin_fields) if pin_fields else None)
