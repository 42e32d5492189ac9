"""Real processes that run tests, among them such as fail, print, and end before their time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.running.pool import Pool
from tests.running.units import Unit
from tests.running.ways import MASKS, PLAIN, ROOT, STOCK, Way

KINDS = """
import unittest
from twisted.trial.unittest import TestCase
class Kinds(TestCase):
    def test_a_passes(self): pass
    def test_b_fails(self): self.assertEqual(1, 2)
    def test_c_breaks(self): raise ValueError("a bug")
    def test_d_is_skipped(self): raise unittest.SkipTest("no kettle")
    def test_e_is_to_do(self): self.fail()
    test_e_is_to_do.todo = "later"
    def test_f_is_done(self): pass
    test_f_is_done.todo = "later"
    def test_g_prints(self): print("hello")
    def test_h_fails_twice(self):
        self.addCleanup(self.fail, "in the cleanup")
        self.fail("in the test")
"""
ENDS = """
import os
from twisted.trial.unittest import TestCase
class Ends(TestCase):
    def test_a_passes(self): pass
    def test_b_ends(self): print("farewell", flush=True); os._exit(3)
    def test_c_is_never_run(self): pass
"""
SLOW = """
from twisted.trial.unittest import TestCase
class Quick(TestCase):
    def test_quick(self): pass
    def test_slow(self): pass
    test_slow.slow = True
class Slow(TestCase):
    slow = True
    def test_slow(self): pass
"""


class Noted:
    """Notes what a pool tells."""

    def __init__(self) -> None:
        self.tests: list[tuple[str, str]] = []
        self.texts: dict[str, str] = {}
        self.printed = ""
        self.running: list[Unit] = []

    def started(self, unit: Unit) -> None:
        self.running.append(unit)

    def ended(self, unit: Unit, seconds: float, cpu_seconds: float, output: str) -> None:
        self.running.remove(unit)
        self.printed += output

    def test_ended(self, unit: Unit, test: str, outcome: str, text: str, seconds: float) -> None:
        self.tests.append((test.rpartition(".")[2], outcome))
        self.texts[test.rpartition(".")[2]] = text

    def tick(self) -> None:
        pass


class PoolTests(SynchronousTestCase):
    slow = True

    def run_all(self, units: Sequence[Unit], *, quick: bool = False, jobs: int = 2) -> Noted:
        noted = Noted()
        Pool(units, noted, cores=2, jobs=jobs, quick=quick, clock=time.monotonic).run()
        self.assertEqual(noted.running, [])
        return noted

    def way(self, **sources: str) -> Way:
        """The plain way, in which there are these modules besides."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        return Way("plain", {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))})

    def test_outcomes(self) -> None:
        """Each test is told once for each way in which it ends, a failure with its traceback."""
        noted = self.run_all([Unit("kinds", self.way(kinds=KINDS))])
        self.assertEqual(
            noted.tests,
            [
                ("test_a_passes", "passed"),
                ("test_b_fails", "failed"),
                ("test_c_breaks", "failed"),
                ("test_d_is_skipped", "skipped"),
                ("test_e_is_to_do", "passed"),
                ("test_f_is_done", "failed"),
                ("test_g_prints", "passed"),
                ("test_h_fails_twice", "failed"),
                ("test_h_fails_twice", "failed"),
            ],
        )
        self.assertIn("self.assertEqual(1, 2)", noted.texts["test_b_fails"])
        self.assertIn("ValueError: a bug", noted.texts["test_c_breaks"])
        self.assertEqual(noted.texts["test_d_is_skipped"], "no kettle")
        self.assertIn("hello", noted.printed)

    def test_end_of_a_process(self) -> None:
        """A process that ends in a test has failed that test; the units after it are run by another."""
        way = self.way(ends=ENDS, kinds=KINDS)
        noted = self.run_all([Unit("ends", way), Unit("kinds.Kinds.test_g_prints", way)], jobs=1)
        self.assertEqual(
            sorted(noted.tests), [("test_a_passes", "passed"), ("test_b_ends", "failed"), ("test_g_prints", "passed")]
        )
        self.assertIn("exit code 3", noted.texts["test_b_ends"])
        self.assertIn("farewell", noted.texts["test_b_ends"])

    def test_no_such_module(self) -> None:
        """A module that is not there, or cannot be imported, is a failure."""
        noted = self.run_all([Unit("nothing", PLAIN), Unit("broken", self.way(broken="import nothing"))])
        self.assertEqual([outcome for _, outcome in noted.tests], ["failed", "failed"])

    def test_parts(self) -> None:
        """The parts of a module are together the whole of it."""
        way = self.way(kinds=KINDS)
        noted = self.run_all([Unit("kinds", way, part, 3) for part in range(3)])
        self.assertEqual(sorted(noted.tests), sorted(self.run_all([Unit("kinds", way)]).tests))

    def test_quick(self) -> None:
        """What is marked as slow is left out: a test, a class, a module, and all that is in a package."""
        way = self.way(some=SLOW, all="slow = True\n" + SLOW)
        units = [Unit("some", way), Unit("all", way), Unit("tests.system.test_messages", way)]
        self.assertEqual(self.run_all(units, quick=True).tests, [("test_quick", "passed")])
        self.assertEqual(len(self.run_all(units[:2]).tests), 6)

    def test_checks(self) -> None:
        """A check passes or fails by its exit code, and what it says is told."""
        units = [Unit("good", command=("-c", "print('fine')")), Unit("bad", command=("-c", "exit('wrong')"))]
        noted = self.run_all(units)
        self.assertEqual(sorted(noted.tests), [("bad", "failed"), ("good", "passed")])
        self.assertIn("wrong", noted.texts["bad"])

    def test_ways(self) -> None:
        """A process that is not run in its way says so before it runs a test."""
        for way in (*MASKS, STOCK):
            self.assertRaises(RuntimeError, way.check)
            lost = Way(way.name, {})
            noted = self.run_all([Unit("tests.http.test_coarse_timer", lost)])
            self.assertEqual([outcome for _, outcome in noted.tests], ["failed"])
            self.assertIn("this process is to", "".join(noted.texts.values()))
