"""
The bodies of the requests for sessions: `/session/create`, and those that name a session. No Twisted.

The shapes are those of Vast's worker (`vastai` 1.9.1, `serverless/server/lib/backend.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from attrs import frozen

from vespa.protocol.refusal import Refusal
from vespa.vast.auth import MAX_TEXT, Auth, invalid_envelope
from vespa.vast.envelope import ABSENT, MALFORMED, decode_all_members, decode_members, read_auth
from vespa.vast.whole_envelope import unwrap_body

CREATE: Final = b"/session/create"
GET: Final = b"/session/get"
HEALTH: Final = b"/session/health"
END: Final = b"/session/end"
SESSION_PATHS: Final = frozenset((CREATE, GET, HEALTH, END))
"""The paths that the worker answers itself. Clients cannot reach a backend's own routes with these names."""

BODY_MAX: Final = 65536
"""The longest body of a request for a session, in bytes, and so the limit of what a session keeps."""
DEFAULT_LIFETIME: Final = 60.0
TARGET_MAX: Final = 2048
"""The longest `on_close_route`, in characters."""
_ANY_COST: Final = 1e300
"""Costs of a session's own auth_data were limited when it was created, perhaps by another limit than now."""


@frozen
class OnClose:
    """What the backend gets when a session ends: `target` is a path, and `payload` the members of a JSON object."""

    target: bytes
    payload: Mapping[str, msgspec.Raw]
    route: str
    shown_payload: bytes
    """The payload as JSON, as the caller sent it."""

    def body(self, session_id: str) -> bytes:
        """The body of the request to the backend: the payload and the session's id."""
        return msgspec.json.encode({**self.payload, "session_id": session_id})


@frozen
class WantedSession:
    """A session that a request asks for. `auth_data` is JSON, `lifetime` in seconds."""

    auth: Auth
    auth_data: bytes
    lifetime: float
    on_close: OnClose | None


@frozen
class NamedSession:
    """The session that a request names, and the signed values that it sends with it; None if they are not valid."""

    session_id: str
    auth: Auth | None


class _Create(msgspec.Struct):
    lifetime: msgspec.Raw = ABSENT
    on_close_route: msgspec.Raw = ABSENT
    on_close_payload: msgspec.Raw = ABSENT


class _Named(msgspec.Struct):
    session_id: msgspec.Raw = ABSENT
    session_auth: msgspec.Raw = ABSENT


_decode_create: Final = msgspec.json.Decoder(_Create).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode
_decode_number: Final = msgspec.json.Decoder(float).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_EMPTY: Final = (b"", b"null")


def read_create(body: bytes, signed: Auth | None, max_cost: float, longest_lifetime: float) -> WantedSession:
    """
    Read the body of `/session/create`: an envelope, or with `signed` values from the query the payload alone.

    Raises Refusal 422 "invalid_envelope", whose fields name all errors.
    """
    if signed is not None:
        auth, auth_data, payload = signed, _auth_data(signed), body
        inside = signed.session_id is not None
    else:
        envelope = unwrap_body(body, max_cost)
        auth, payload = envelope.auth, envelope.payload
        inside = envelope.session_id is not None
        try:
            auth_data = bytes(decode_members(body).auth_data)
        except MALFORMED:  # the payload is not JSON, and the envelope around it is
            auth_data = b""
    wrong: dict[str, str] = {}
    if inside:
        wrong["session_id"] = "must be null: a session is not created within another"
    wanted = _read_payload(payload, longest_lifetime, wrong)
    if wanted is None or wrong or not auth_data:
        raise invalid_envelope("body", wrong or {"payload": "must be a JSON object in UTF-8"})
    lifetime, on_close = wanted
    return WantedSession(auth, auth_data, lifetime, on_close)


def read_named(body: bytes) -> NamedSession:
    """Read `{session_id, session_auth}`. Raises Refusal 422 "invalid_envelope"."""
    wrong: dict[str, str] = {}
    try:
        named = _decode_named(body)
        session_id = _decode_text(named.session_id) if bytes(named.session_id) else ""
    except MALFORMED:
        raise invalid_envelope("body", {"body": "must be a JSON object with a text session_id"}) from None
    if not session_id or len(session_id) > MAX_TEXT:
        raise invalid_envelope("body", {"session_id": f"must be a text of 1 to {MAX_TEXT} characters"})
    return NamedSession(session_id, read_auth(bytes(named.session_auth), _ANY_COST, wrong))


def _read_payload(raw: bytes, longest: float, wrong: dict[str, str]) -> tuple[float, OnClose | None] | None:
    """The lifetime and what happens at the end; None after an error, which is added to `wrong`."""
    try:
        raw.decode()  # the decoder does not check the strings that it skips
        payload = _decode_create(raw)
    except MALFORMED:
        wrong["payload"] = "must be a JSON object in UTF-8"
        return None
    lifetime = DEFAULT_LIFETIME
    if bytes(payload.lifetime) not in _EMPTY:
        try:
            lifetime = _decode_number(payload.lifetime)
        except MALFORMED:
            lifetime = 0.0
        if not 0.0 < lifetime <= longest:
            wrong["payload.lifetime"] = (
                f"must be a number of seconds above 0, {longest:g} at most (VESPA_MAX_SESSION_LIFETIME)"
            )
    on_close = None
    if bytes(payload.on_close_route) not in _EMPTY:
        try:
            on_close = _on_close(_decode_text(payload.on_close_route), bytes(payload.on_close_payload))
        except msgspec.MsgspecError:
            wrong["payload.on_close_route"] = "must be a text"
        except ValueError as error:
            wrong["payload.on_close_route"] = str(error)
    return lifetime, on_close


def _on_close(route: str, payload: bytes) -> OnClose:
    """Raises ValueError for a route that is not a path at the backend."""
    target = backend_path(route)
    if payload in _EMPTY:
        return OnClose(target, {}, route, b"null")
    if payload[:1] == b"{":
        return OnClose(target, decode_all_members(payload), route, payload)
    # Vast's worker sends any other value in this way.
    return OnClose(target, {"payload": msgspec.Raw(payload)}, route, payload)


# The characters of a path and a query (RFC 3986 3.3 and 3.4).
_is_target: Final = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*", re.ASCII).fullmatch
_slashes: Final = re.compile(rb"[/\\]").split
_has_control: Final = re.compile(rb"[\x00-\x1f\x7f]").search
_DECODINGS_MAX: Final = 8


def backend_path(route: str) -> bytes:
    """
    A path at the backend, maybe with a query, as the target of a request.

    It must stay below the backend's path prefix however often a server decodes it. Raises ValueError with the reason.
    """
    if not _is_target(route) or len(route) > TARGET_MAX:
        raise ValueError(f"must be a path at the backend such as /cleanup: URL characters, {TARGET_MAX} at most")
    target = route.encode("ascii")
    path = target.partition(b"?")[0]
    for _ in range(_DECODINGS_MAX):
        if path[:2] in (b"//", b"/\\"):
            raise ValueError("must be a path at the backend, not an address: it begins with two slashes")
        if _has_control(path):
            raise ValueError("must not have control characters")
        if any(segment.partition(b";")[0] in (b".", b"..") for segment in _slashes(path)):
            raise ValueError('must not have the segments "." and ".."')
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return target
        path = decoded
    raise ValueError("must not be percent-encoded again and again")


def _auth_data(auth: Auth) -> bytes:
    """The signed values of a query as the JSON object that an envelope would have."""
    values: dict[str, Any] = {
        "cost": msgspec.Raw(auth.cost_lexeme),
        "endpoint": auth.endpoint,
        "reqnum": auth.reqnum,
        "request_idx": auth.request_idx,
        "signature": auth.signature,
        "url": auth.url,
    }
    return msgspec.json.encode(values)


def too_large() -> Refusal:
    """The refusal of a body over `BODY_MAX`."""
    return Refusal(413, "body_too_large", f"the body of a request for a session has {BODY_MAX} bytes at most")
