"""BENCHMARKS.md: what it shows runs, and what the benchmarks read it lists."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarking.serving import Backend, answer
from vespa.benchmarking import contract

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "BENCHMARKS.md").read_text()


def is_variable(text: str) -> bool:
    """Whether this text is the name of an environment variable."""
    return text.startswith(("BENCHMARK_", "VESPA_", "MODEL_")) and text.isupper() and text.isidentifier()


class GuideTests(SynchronousTestCase):
    def test_example(self) -> None:
        """The first example is a benchmark."""
        example, _ = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
        names: dict[str, Any] = {}
        exec(compile(example, "BENCHMARKS.md", "exec"), names)
        backend = Backend()
        backend.handlers["/generate"] = answer(b"a picture", content_type="image/png")
        self.patch(sys, "stdout", SimpleNamespace(write=lambda text: None, flush=lambda: None))
        self.assertGreater(backend.run(lambda session: names["benchmark"](backend.url, session)), 0.0)

    def test_reports(self) -> None:
        """The second one reports a level and the progress."""
        _, example = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
        said: list[dict[str, Any]] = []
        contract.listen(said.append)
        self.addCleanup(contract.listen, None)
        exec(compile(example, "BENCHMARKS.md", "exec"), {})
        self.assertEqual(contract.Level.checked(said[0]["level"]).concurrency, 8)
        self.assertEqual(said[1:], [{"progress": 0.5}])

    def test_variables(self) -> None:
        """Every variable that a built-in benchmark reads is listed."""
        read = {
            node.value
            for path in (ROOT / "benchmarks").glob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_variable(node.value)
        }
        self.assertIn("BENCHMARK_RUNS", read)
        for name in read:
            listed = name in GUIDE or ("BENCHMARK_TEST" in name and name.removeprefix("BENCHMARK_TEST") in GUIDE)
            self.assertTrue(listed, name)
