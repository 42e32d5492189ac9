"""Requests that have ended, as the access log and the spans see them, for tests."""

from __future__ import annotations

import gc

from attrs import define, field

from vespa.accounting.lifecycle import SERVED, State
from vespa.protocol.request_head import RequestHead, parse_request_head

AT = 1795454334.76  # 2026-11-23T17:18:54.760Z


def head_of(target: bytes = b"/v1/models?api_key=K", *lines: bytes, method: bytes = b"POST") -> RequestHead:
    """The head of a request with these field lines."""
    data = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: worker", *lines, b"", b""])
    return parse_request_head(data)[0]


@define(eq=False)
class Ended:
    """A request that was served: 1 ms in the queue, its first byte after 101 ms, its end after 501 ms."""

    state: State = SERVED
    head: RequestHead | None = field(factory=head_of)
    peer: str = "10.1.2.3"
    request_id: str = ""
    status: int = 200
    code: str = ""
    origin: str = ""
    work: int = 2_500_000
    measured: int | None = None
    request_idx: int | None = 17
    received_at: float = AT
    started_at: float = AT + 0.001
    first_byte_at: float = AT + 0.101
    ended_at: float = AT + 0.501
    connect_seconds: float = 0.0
    longest_gap: float = 0.0
    bytes_in: int = 532
    bytes_out: int = 1043
    attempts: int = 1
    upstream_address: str = ""


def heads_alive(begin: bytes) -> int:
    """The number of heads in memory whose target begins so."""
    gc.collect()
    return sum(isinstance(each, RequestHead) and each.target.startswith(begin) for each in gc.get_objects())
