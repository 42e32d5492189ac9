"""The autoscaler's response to a request for a worker, and the way in which a request carries it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec

from vespa.vast.auth import AUTH_MEMBERS, MAX_AUTH_DATA

_TEXT_MAX: Final = 200


class BadRouteResponse(ValueError):
    """The autoscaler's response cannot be used; the message says why."""


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """
    A signed assignment of a worker to one request.

    `auth_data` is a JSON object, and `query` the same values as parameters of a query. Each value keeps the text with
    which it arrived, because the signatures of `100.0` and `100` differ. `session_id`: the session that the request is
    inside; "" for most. `ends`: the request is the one that ends this session.
    """

    url: str
    request_idx: int
    auth_data: bytes
    texts: dict[str, str]
    session_id: str = ""
    ends: bool = False

    def in_session(self, session_id: str) -> Assignment:
        """The same assignment for a request inside the session that was created with it."""
        texts = {**self.texts, "session_id": session_id}
        return Assignment(self.url, self.request_idx, self.auth_data, texts, session_id)

    @property
    def ending(self) -> Assignment:
        """The same, inside a session, for the request that ends it (`/session/end`)."""
        return Assignment(self.url, self.request_idx, self.auth_data, self.texts, self.session_id, True)

    @property
    def envelope_start(self) -> bytes:
        """The beginning of an envelope: the assignment first, so that a worker can check it early."""
        if self.session_id:
            session_id = json.dumps(self.session_id).encode("ascii")
            name = b"session_auth" if self.ends else b"auth_data"
            return b'{"%b":%b,"session_id":%b,"payload":' % (name, self.auth_data, session_id)
        return b'{"auth_data":%b,"payload":' % self.auth_data

    @property
    def query(self) -> bytes:
        """`serverless_cost=…&serverless_endpoint=…` and so on."""
        return "&".join([f"serverless_{name}={_quoted(text)}" for name, text in self.texts.items()]).encode("ascii")


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """No worker is ready: ask again with this index. `status` is the autoscaler's own text."""

    request_idx: int
    status: str


_ABSENT: Final = msgspec.Raw(b"")


class _RouteResponse(msgspec.Struct):
    # A worker reads these members, so the client sends only these.
    cost: msgspec.Raw = _ABSENT
    endpoint: msgspec.Raw = _ABSENT
    reqnum: msgspec.Raw = _ABSENT
    request_idx: msgspec.Raw = _ABSENT
    signature: msgspec.Raw = _ABSENT
    url: msgspec.Raw = _ABSENT
    request_id: msgspec.Raw = msgspec.field(default=_ABSENT, name="__request_id")
    status: msgspec.Raw = _ABSENT


_decode: Final = msgspec.json.Decoder(_RouteResponse).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_integer: Final = msgspec.json.Decoder(int).decode
_decode_number: Final = msgspec.json.Decoder(float).decode
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def read_route_response(body: bytes, asked_idx: int) -> Assignment | Waiting:
    """
    Read the body of a 200 from `/route/`. A body with a `url` is an assignment.

    `asked_idx` is the index in the request, which a response may leave out. Raises `BadRouteResponse`.
    """
    if len(body) > MAX_AUTH_DATA:
        raise BadRouteResponse(f"it is longer than {MAX_AUTH_DATA} bytes")
    try:
        response = _decode(body)
    except _MALFORMED:
        raise BadRouteResponse("it is not a JSON object") from None
    if not bytes(response.url) or bytes(response.url) in (b"null", b'""'):
        return Waiting(_index(response.request_idx, asked_idx), _words(response.status))
    missing = [name for name in AUTH_MEMBERS if not bytes(getattr(response, name))]
    if missing:
        raise BadRouteResponse(f"it has a url but no {', '.join(missing)}")
    texts = {name: _text(name, getattr(response, name)) for name in AUTH_MEMBERS}
    members = [b'"%b":%b' % (name.encode("ascii"), bytes(getattr(response, name))) for name in AUTH_MEMBERS]
    if bytes(response.request_id):
        members.append(b'"__request_id":' + bytes(response.request_id))
    return Assignment(texts["url"], _index(response.request_idx, asked_idx), b"{%b}" % b",".join(members), texts)


@lru_cache(256)
def _quoted(text: str) -> str:
    # A worker's url, and the signature over the url alone, repeat.
    return quote(text, safe="")


def _text(name: str, raw: msgspec.Raw) -> str:
    """A member as the text for a query: a string's value, a number's text. Raises `BadRouteResponse`."""
    try:
        if name == "cost":
            _decode_number(raw)
        elif name in ("reqnum", "request_idx"):
            _decode_integer(raw)
        else:
            text = _decode_text(raw)
            text.encode("utf-8")  # half of a surrogate pair cannot be encoded
            return text
    except _MALFORMED:
        raise BadRouteResponse(f"its {name} has the wrong type or is malformed") from None
    return bytes(raw).decode("ascii")


def _index(raw: msgspec.Raw, otherwise: int) -> int:
    try:
        return int(_decode_integer(raw)) if bytes(raw) else otherwise
    except _MALFORMED:
        raise BadRouteResponse("its request_idx is not a whole number") from None


def _words(raw: msgspec.Raw) -> str:
    """A text of the autoscaler's for people, in any form."""
    try:
        return _decode_text(raw) if bytes(raw) else ""
    except _MALFORMED:
        return bytes(raw).decode("utf-8", "replace")


def one_line(text: str) -> str:
    """A foreign text as one short line without control characters."""
    line = "".join(each if each.isprintable() else " " for each in text[: 2 * _TEXT_MAX]).strip()
    return line if len(line) <= _TEXT_MAX else line[: _TEXT_MAX - 1] + "…"


def seconds_before(poll: int, random: Callable[[], float]) -> float:
    """The seconds before the next request for a worker: 1 s at first, then random up to 5 s, like Vast's own client."""
    if poll <= 1:
        return 1.0
    return 0.1 + random() * (min(2.0 ** min(poll - 1, 3), 5.0) - 0.1)


def error_text(body: bytes) -> str:
    """The text of an error of the autoscaler's, or of a worker's in Vespa's form."""
    try:
        said = json.loads(body[:4096])
        text = said.get("error") if isinstance(said, dict) else None
    except (ValueError, RecursionError):
        text = None
    if isinstance(text, dict):
        fields = text.get("fields")
        wrong = [f"{name} {what}" for name, what in fields.items()] if isinstance(fields, dict) else []
        text = ": ".join([str(text.get("message", "")), *(["; ".join(wrong)] if wrong else [])])
    return text if isinstance(text, str) else body[:400].decode("utf-8", "replace")
