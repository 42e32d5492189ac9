"""Tests of vespa.engines.comfyui_json."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from vespa.engines.comfyui_json import SLOW_MAX, Entry, Queue, decode


def queue_of(prompt: bytes) -> bytes:
    return b'{"queue_running": [[1, "a", %b, {}, []]], "queue_pending": []}' % prompt


class Decoding(SynchronousTestCase):
    def test_workflows_of_callers(self) -> None:
        """A workflow may hold what msgspec does not read: the ids beside it are found all the same."""
        deep = b'{"a":' * 500 + b"1" + b"}" * 500
        for prompt in (b"{}", b'{"3": NaN}', json.dumps("\ud800").encode("ascii"), deep):
            queue = decode(queue_of(prompt), Queue)
            assert queue is not None
            self.assertEqual([each.prompt_id for each in queue.queue_running], ["a"])
            self.assertEqual(queue.queue_pending, [])

    def test_large(self) -> None:
        """Python's own parser, which is slow, reads nothing large."""
        self.assertIsNotNone(decode(queue_of(b"[NaN%b]" % (b" " * 1000)), Queue))
        self.assertIsNone(decode(queue_of(b"[NaN%b]" % (b" " * SLOW_MAX)), Queue))

    def test_something_else(self) -> None:
        """What has another shape, or is no JSON, is None."""
        for body in (b"", b"[]", b"{}", b'{"queue_running": 1, "queue_pending": []}', b"\xff", b"[" * 100_000):
            self.assertIsNone(decode(body, Queue))

    def test_history(self) -> None:
        """An entry has its status, where the version keeps one."""
        found = decode(b'{"a": {"status": {"status_str": "error"}}, "b": {"outputs": {}}}', dict[str, Entry])
        assert found is not None and found["a"].status is not None
        self.assertEqual(found["a"].status.status_str, "error")
        self.assertIsNone(found["b"].status)
