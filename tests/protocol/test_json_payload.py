"""The members that are read from a caller's JSON."""

from __future__ import annotations

import tracemalloc
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from tests.protocol.test_head_work import calls
from vespa.protocol.json_payload import read_payload

SIZE = 1 << 20


class PayloadTests(SynchronousTestCase):
    def test_nothing_is_built(self) -> None:
        """One MiB of whatever takes a parser longest is passed over: no object is made, nor a call, for its parts."""
        for body in (
            b"[" + b"[]," * (SIZE // 3 - 2) + b"[]]",
            b'{"x":[' + b"{}," * (SIZE // 3 - 8) + b"[]]}",
            b'{"parameters":{"x":[' + b"[]," * (SIZE // 3 - 12) + b"[]]}}",
            b'{"options":{"x":[' + b"[]," * (SIZE // 3 - 12) + b"[]]}}",
            b"{" + b",".join([b'"stream":0'] * 90_000) + b"}",
            b'{"max_tokens":' + b"1" * (SIZE - 20) + b"}",
            b'{"' + b"\\n" * (SIZE // 2 - 10) + b'":0}',
            b"[" * (SIZE // 2) + b"]" * (SIZE // 2),
        ):
            self.assertLessEqual(len(body), SIZE)
            self.assertLess(calls(partial(read_payload, body)), 60, body[:20])
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            read_payload(body)
            self.assertLess(tracemalloc.get_traced_memory()[1], 3 * SIZE, body[:20])
            tracemalloc.stop()
