"""A soak of the worker, short."""

from __future__ import annotations

import sys

from tests.processes import ProcessCase
from vespa.simulator.launch import ROOT


class SoakTests(ProcessCase):
    async def test_verdict(self) -> None:
        """Mixed traffic with hang-ups leaves no error, no memory and no descriptor behind, and the verdict says so."""
        child = self.start([sys.executable, "-m", "perf", "soak", "--seconds", "6"], folder=ROOT)
        self.assertEqual(await self.until_exit(child, 60), 0, child.text)
        self.assertEqual(child.text.count("\ngood  "), 4, child.text)
        self.assertNotIn("\nBAD ", child.text)
