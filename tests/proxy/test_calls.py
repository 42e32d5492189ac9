"""How many Python calls a steady request and a steady chunk cost: what was taken out of the data path stays out."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.processes import ProcessCase
from vespa.transport.choice import is_fast
from vespa.transport.platform import HAS_EPOLL

REQUEST_CALLS = 40
CHUNK_CALLS = 4
TLS_REQUEST_CALLS = 43
"""OpenSSL is called through one function more than a socket where a client's bytes come, and two where they go."""
TLS_CHUNK_CALLS = 8
"""Two more than a socket's, and two to leave it to the turn's end; one of those is once a turn, however many chunks."""


class CallTests(ProcessCase):
    """
    A worker that reports, and requests that are signed, over connections that are kept.

    What is called less than once in ten units is no part of a steady one: reports and timers, which come by the clock.
    """

    if not (HAS_EPOLL and is_fast()):
        skip = "the calls are those of our own reactor and transports"

    async def count(self, *arguments: str) -> dict[str, Any]:
        """The counting worker's output."""
        child = self.start([sys.executable, "-m", "tests.proxy.counted_worker", *arguments])
        self.assertEqual(await self.until_exit(child), 0, child.text)
        counts: dict[str, Any] = json.loads(child.lines[-1])
        return counts

    def assert_at_most(self, most: int, counted: dict[str, Any]) -> None:
        """Fail above so many calls a unit, and show whose they were."""
        each = {name: times / counted["units"] for name, times in counted["calls"].items()}
        steady = {name: times for name, times in each.items() if times >= 0.1}
        calls = sum(steady.values())
        shown = "\n".join(f"{times:8.2f}  {name}" for name, times in steady.items())
        self.assertLess(calls, most + 0.5, f"{calls:.2f} calls, {most} are allowed:\n{shown}")
        self.assertGreaterEqual(calls, 1.0, "nothing was counted")

    async def test_plain(self) -> None:
        """A steady request passes at most 40 calls of ours, a steady chunk at most 4, while the worker reports."""
        counts = await self.count()
        self.assertGreater(counts["request"]["reports"], 0)
        self.assert_at_most(REQUEST_CALLS, counts["request"])
        self.assert_at_most(CHUNK_CALLS, counts["chunk"])

    async def test_tls(self) -> None:
        """Where clients speak TLS a steady request passes at most 43 calls, a steady chunk at most 8."""
        counts = await self.count("tls")
        self.assertGreater(counts["request"]["reports"], 0)
        self.assert_at_most(TLS_REQUEST_CALLS, counts["request"])
        self.assert_at_most(TLS_CHUNK_CALLS, counts["chunk"])
