"""Reading an upload form (multipart/form-data), strictly."""

from __future__ import annotations

import re
from email.message import Message

from attrs import frozen

_NAME = re.compile(r'; *([a-z]+)="((?:[^"\\]|\\.)*)"')


class NoForm(Exception):
    """A body that is no such form; the text says why."""


@frozen
class Part:
    """One field or file. `filename` is None for a field."""

    name: str
    filename: str | None
    content_type: str
    content: bytes


def read_form(body: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in order. Raises NoForm."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise NoForm("not multipart/form-data with a boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1"))
    if len(pieces) < 2 or pieces[0] not in (b"", b"\r\n") or pieces[-1] not in (b"--", b"--\r\n"):
        raise NoForm("the boundaries are not where they should be, or the end is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, found, content = piece.partition(b"\r\n\r\n")
    if not found or not head.startswith(b"\r\n"):
        raise NoForm("a part without a head")
    fields: dict[str, str] = {}
    for line in head[2:].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    names = dict(_NAME.findall(fields.get("content-disposition", "")))
    if "name" not in names:
        raise NoForm("a part without a name")
    return Part(names["name"], names.get("filename"), fields.get("content-type", ""), content)
