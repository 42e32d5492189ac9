"""
An error as the last event of a stream of server-sent events.

The libraries of OpenAI and Anthropic raise an exception for it. To many programs a connection that just ends looks like
the end of the text.
"""

from __future__ import annotations

import json

from vespa.protocol.content import content_coding, media_type
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import CHUNKED, UNTIL_CLOSE, ResponseHead


def error_event(status: int, body: bytes, upstream: str) -> bytes:
    """The event for an error response, of the upstream or of Vespa, with this status and body."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        text = error if isinstance(error, str) else body[:4096].decode("utf-8", "replace")
        error = {"message": text or f"the {upstream} answered {status}"}
    error = {"type": "upstream_error", "status": status, **error}
    return b"event: error\ndata: %b\n\n" % json.dumps({"type": "error", "error": error}).encode("ascii")


def last_event(head: ResponseHead, refusal: Refusal, *, minor: int, whole_chunks: bool) -> bytes:
    """
    The framed bytes that end a broken response with this head; b"" if they would not be read as an event.

    `minor` is the client's HTTP version. `whole_chunks`: of a chunked response whole chunks were passed on.
    """
    if not is_event_stream(head) or head.framing not in (CHUNKED, UNTIL_CLOSE):
        return b""
    # The blank line ends an event of which only a part has come.
    event = b"\n\n" + error_event(refusal.status, refusal.body(), refusal.origin)
    return b"" if minor and head.framing == CHUNKED and not whole_chunks else framed(event, minor)


def framed(event: bytes, minor: int) -> bytes:
    """An event as a chunk of its own, or as plain bytes to an HTTP/1.0 client; b"" for none."""
    return b"%x\r\n%b\r\n" % (len(event), event) if minor and event else event


def is_event_stream(head: ResponseHead) -> bool:
    """Whether the content is a stream of server-sent events without a content coding."""
    return media_type(head.passing) == b"text/event-stream" and not content_coding(head.passing)
