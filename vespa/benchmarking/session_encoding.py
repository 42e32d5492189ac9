"""Requests as a benchmark writes them, turned into a URL and bytes."""

from __future__ import annotations

import json as json_module
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

UNIX_ORIGIN = "http://localhost"
"""Where a backend on a unix socket is found: its requests carry this as their Host."""


def resolve(base: str, url: object, params: object = None) -> str:
    """The absolute URL of `url` at the backend `base`, whose own path is a prefix; ValueError where there is none."""
    text = str(url)
    origin = base
    if base.startswith("unix:"):
        origin, text = UNIX_ORIGIN, text.removeprefix(base)
    if urlsplit(text).scheme not in ("http", "https"):
        if not origin:
            raise ValueError(f"{text!r} is relative and this session has no base URL")
        text = origin.rstrip("/") + ("" if text.startswith(("/", "?")) else "/") + text
    text = text.partition("#")[0]
    query = encode_query(params)
    return text + ("&" if "?" in text else "?") + query if query else text


def encode_query(params: object) -> str:
    """`params` as aiohttp takes them: a string, a mapping (whose values may be lists), or pairs."""
    if isinstance(params, str):
        return quote(params, safe="/?:@!$'()*+,;=&%-._~")
    return urlencode([(name, str(value)) for name, value in _pairs(params)], encoding="utf-8")


def encode_body(json: object, data: object) -> tuple[bytes | None, str | None]:
    """The body and its content type; None for no body. TypeError for what cannot be sent."""
    if json is not None:
        if data is not None:
            raise ValueError("data and json parameters can not be used at the same time")
        return json_module.dumps(json).encode(), "application/json"
    if data is None:
        return None, None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), "application/octet-stream"
    if isinstance(data, str):
        return data.encode(), "text/plain; charset=utf-8"
    if hasattr(data, "read"):
        return _content(data), "application/octet-stream"
    fields = _fields(data)
    if any(filename is not None or kind is not None for _, filename, kind, _ in fields):
        return _multipart(fields)
    pairs = [(name, content) for name, _, _, content in fields]
    return urlencode(pairs).encode(), "application/x-www-form-urlencoded"


def basic_auth(auth: Any) -> str:
    """The Authorization of aiohttp's BasicAuth, or of any (login, password)."""
    login, password = auth[0], auth[1]
    return "Basic " + b64encode(f"{login}:{password}".encode("latin-1", "replace")).decode("ascii")


def _pairs(source: object) -> Iterable[tuple[str, Any]]:
    if source is None:
        return
    items: Any = source.items() if isinstance(source, Mapping) else source
    for name, value in items:
        if isinstance(value, (list, tuple)):
            yield from ((str(name), each) for each in value)
        else:
            yield str(name), value


def _fields(data: Any) -> list[tuple[str, str | None, str | None, bytes]]:
    """(name, filename, content type, content) of each field of a form; aiohttp's FormData has its own in `_fields`."""
    described = getattr(data, "_fields", None)
    if described is None:
        if not isinstance(data, (Mapping, list, tuple)):
            raise TypeError(f"a body cannot be made of {type(data).__name__}")
        described = [({"name": name}, {}, value) for name, value in _pairs(data)]
    fields = []
    for options, headers, value in described:
        name, filename, kind = options["name"], options.get("filename"), headers.get("Content-Type")
        if isinstance(value, (bytes, bytearray, memoryview)) or hasattr(value, "read"):
            kind = kind or "application/octet-stream"
            filename = filename or str(getattr(value, "name", name)).rpartition("/")[2]
        fields.append((name, filename, kind, _content(value)))
    return fields


def _content(value: Any) -> bytes:
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return str(value).encode()


def _multipart(fields: list[tuple[str, str | None, str | None, bytes]]) -> tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    parts = []
    for name, filename, kind, content in fields:
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        head += f'; filename="{_quoted(filename)}"' if filename is not None else ""
        head += f"\r\nContent-Type: {kind}" if kind is not None else ""
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
