"""Tests of vespa.engines.comfyui_json."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.engines.comfyui_json import Entry, Queue, decode


class Decoding(SynchronousTestCase):
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
