"""What is run, in which order, and how long that is expected to take."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.running.units import (
    LIGHT_SECONDS,
    PART_SECONDS,
    Unit,
    Weight,
    choose,
    expected_seconds,
    modules,
    read_weights,
    units_of,
    write_weights,
)
from tests.running.ways import PLAIN, STOCK

WAITS = Weight(30.0, 3.0)
COMPUTES = Weight(20.0, 20.0)


def unit(name: str, weight: Weight) -> Unit:
    return Unit(name, weight=weight)


class NameTests(SynchronousTestCase):
    def test_packages(self) -> None:
        """A package is all the test modules in it and below it; any other name is what it is."""
        found = list(modules("tests.client"))
        self.assertIn("tests.client.test_app", found)
        self.assertIn("tests.client.command.test_start", found)
        self.assertNotIn("tests.client.rig", found)
        self.assertEqual(list(modules("tests.client.test_app")), ["tests.client.test_app"])
        self.assertEqual(list(modules("tests.http.test_server.Connections")), ["tests.http.test_server.Connections"])

    def test_named_twice(self) -> None:
        """What is named twice is run once."""
        units = units_of(["tests.http.test_server", "tests.http"], PLAIN, {})
        self.assertEqual(sum(each.name == "tests.http.test_server" for each in units), 1)

    def test_parts(self) -> None:
        """A heavy module is several units, which share its weight."""
        weights = {"tests.http.test_server": Weight(2.5 * PART_SECONDS, 9.0)}
        units = units_of(["tests.http.test_server"], PLAIN, weights)
        self.assertEqual([(each.part, each.parts) for each in units], [(0, 3), (1, 3), (2, 3)])
        self.assertAlmostEqual(sum(each.weight.seconds for each in units), 2.5 * PART_SECONDS)
        self.assertEqual(units[1].label, "tests.http.test_server 2/3")
        self.assertEqual(len(units_of(["tests.http.test_server"], PLAIN, weights, split=False)), 1)

    def test_ways(self) -> None:
        """A module has a weight of its own in each way."""
        weights = {"tests.http.test_server (stock)": Weight(7.0, 1.0)}
        self.assertEqual(units_of(["tests.http.test_server"], STOCK, weights)[0].weight.seconds, 7.0)
        self.assertEqual(units_of(["tests.http.test_server"], PLAIN, weights)[0].weight.seconds, LIGHT_SECONDS)

    def test_weights(self) -> None:
        """Weights are read as they were written, less what takes no second."""
        path = Path(self.mktemp())
        self.assertEqual(read_weights(path), {})
        write_weights({"b": Weight(2.0, 1.5), "a": Weight(61.25, 3.0), "c": Weight(0.9, 0.9)}, path)
        self.assertEqual(read_weights(path), {"a": Weight(61.2, 3.0), "b": Weight(2.0, 1.5)})
        self.assertEqual(len(path.read_text().splitlines()), 4)


class ChoiceTests(SynchronousTestCase):
    def test_longest_first(self) -> None:
        """The longest is begun first."""
        self.assertEqual(choose([unit("a", COMPUTES), unit("b", WAITS)], [], 2), unit("b", WAITS))
        self.assertIsNone(choose([], [], 2))

    def test_cores(self) -> None:
        """What computes runs beside what waits, but not beside more of its kind than there are cores."""
        busy = [unit("a", COMPUTES)]
        waiting = [unit("b", COMPUTES), unit("c", Weight(5.0, 0.5))]
        self.assertEqual(choose(waiting, busy, 1), None)
        self.assertEqual(choose(waiting, busy, 2), waiting[0])
        self.assertEqual(choose(waiting, [*busy, unit("d", Weight(9.0, 4.5))], 2), waiting[1])
        self.assertEqual(choose([unit("e", Weight(10.0, 40.0))], [], 2), unit("e", Weight(10.0, 40.0)), "alone")
        self.assertIsNone(choose([unit("e", Weight(10.0, 40.0))], busy, 2))

    def test_free_processes(self) -> None:
        """Of those that are not long one is taken for which there is a process, even where another is longer."""
        waiting = [Unit("a", PLAIN, weight=Weight(2.0, 1.0)), Unit("b", STOCK, weight=Weight(3.0, 1.0))]
        self.assertEqual(choose(waiting, [], 2, {PLAIN}), waiting[0])
        self.assertEqual(choose(waiting, [], 2, {STOCK}), waiting[1])
        long = Unit("c", STOCK, weight=Weight(30.0, 1.0))
        self.assertEqual(choose([*waiting, long], [], 2, {PLAIN}), long)

    def test_expected(self) -> None:
        """The time of a run is that of the same choices: waits overlap, computing does not."""
        waits = [unit(f"w{n}", WAITS) for n in range(4)]
        self.assertEqual(expected_seconds(waits, 2, 4), 30.0)
        self.assertEqual(expected_seconds(waits, 2, 2), 60.0)
        computes = [unit(f"c{n}", COMPUTES) for n in range(4)]
        self.assertEqual(expected_seconds(computes, 2, 4), 40.0)
        self.assertEqual(expected_seconds([], 2, 4), 0.0)
