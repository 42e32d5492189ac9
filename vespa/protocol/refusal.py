"""Vespa's own response to a request that it does not pass on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from vespa.protocol.error_codes import statuses


class Refusal(Exception):
    """
    Vespa answers the request itself, with an HTTP status and a machine-readable cause.

    `code` is one word for programs, `message` one sentence for people. `origin` is the part that caused it: by default
    "client" for a 4xx except 429, and for what no server has to know (501, 505), otherwise "vespa". `fields` maps the
    name of each wrong field to its error. `retry_after` and `estimated_wait` are in seconds; the latter is the time
    until the work in flight is done. Raises ValueError if `error_codes` does not list this code with this status.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: float | None = None,
        estimated_wait: float | None = None,
        fields: Mapping[str, str] | None = None,
        origin: str = "",
        allow: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(status, code, message)
        if status not in statuses(code):
            raise ValueError(f"{code} with the status {status} is not listed in vespa.protocol.error_codes")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.estimated_wait = estimated_wait
        self.fields = fields
        by_client = (400 <= status < 500 and status != 429) or status in (501, 505)
        self.origin = origin or ("client" if by_client else "vespa")
        self.allow = allow
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    def body(self) -> bytes:
        """The JSON document with the cause, in ASCII, with a line end."""
        error: dict[str, object] = {"code": self.code, "message": self.message, "origin": self.origin}
        if self.estimated_wait is not None:
            error["estimated_wait"] = round(self.estimated_wait, 1)
        if self.fields:
            error["fields"] = dict(self.fields)
        return json.dumps({"error": error}, separators=(",", ":")).encode("ascii") + b"\n"

    def header_list(self) -> list[tuple[bytes, bytes]]:
        """The header fields of this response, without its length."""
        headers = [
            (b"Content-Type", b"application/json"),
            (b"X-Vespa-Error", self.code.encode("ascii")),
            (b"X-Vespa-Origin", self.origin.encode("ascii")),
        ]
        if self.retry_after is not None:
            headers.append((b"Retry-After", b"%d" % max(1, math.ceil(self.retry_after))))
        if self.allow is not None:
            headers.append((b"Allow", self.allow.encode("ascii")))
        headers.extend(self.headers)
        return headers
