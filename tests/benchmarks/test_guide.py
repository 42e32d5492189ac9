"""BENCHMARKS.md: what it shows runs, and what the benchmarks read it lists."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.static import Data

from vespa.benchmarking.session import ClientSession
from vespa.benchmarking.session_agent import client_of

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "BENCHMARKS.md").read_text()


class GuideTests(SynchronousTestCase):
    def test_example(self) -> None:
        """The example is a benchmark."""
        [example] = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
        names: dict[str, Any] = {}
        exec(compile(example, "BENCHMARKS.md", "exec"), names)
        root = Resource()
        page = Data(b"a picture", "image/png")
        page.render_POST = page.render_GET  # type: ignore[attr-defined]
        root.putChild(b"generate", page)
        session = ClientSession("http://backend", client=client_of(RequestTraversalAgent(root)))
        self.patch(sys, "stdout", SimpleNamespace(write=lambda text: None, flush=lambda: None))
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        self.assertGreater(loop.run_until_complete(names["benchmark"]("http://backend", session)), 0.0)

    def test_variables(self) -> None:
        """Every variable that a built-in benchmark reads is listed."""
        read: set[str] = set()
        for path in (ROOT / "benchmarks").glob("*.py"):
            read.update(re.findall(r'"((?:BENCHMARK|VESPA|MODEL)_[A-Z_]+)"', path.read_text()))
        self.assertIn("BENCHMARK_RUNS", read)
        for name in read:
            listed = name in GUIDE or ("BENCHMARK_TEST" in name and name.removeprefix("BENCHMARK_TEST") in GUIDE)
            self.assertTrue(listed, name)
