"""What is read of a caller's JSON."""

from __future__ import annotations

from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from vespa.client.payload import read_payload

SIZE = 1 << 20


class PayloadTests(SynchronousTestCase):
    def test_time(self) -> None:
        """One MiB of whatever takes a parser longest is looked into within a turn's time (5 ms measured)."""
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
            began = process_time()
            read_payload(body)
            self.assertLess(process_time() - began, 0.05, body[:20])
