"""What is run at a time: the tests of a module, or a part of them, or a check such as ruff's."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from tests.running.ways import PLAIN, ROOT, Way

WEIGHTS = ROOT / "tests" / "running" / "weights.json"
QUICK_WEIGHTS = WEIGHTS.with_name("weights-quick.json")
"""Those of a run that leaves out what is slow."""
LIGHT_SECONDS = 0.3
"""How long a module takes that is not among the weights: those that take a second or more are."""
PART_SECONDS = 40.0
"""A module that takes longer is run in several parts."""

LONG_SECONDS = 10.0


@attrs.frozen
class Weight:
    """How long a unit takes on an idle machine, and how much of that it computes, its processes included."""

    seconds: float = LIGHT_SECONDS
    cpu_seconds: float = LIGHT_SECONDS

    @property
    def share(self) -> float:
        """How many cores it keeps busy."""
        return self.cpu_seconds / self.seconds if self.seconds else 1.0


@attrs.frozen
class Unit:
    """Tests for one process; `command` in place of them is the command line of a check."""

    name: str
    way: Way = PLAIN
    part: int = 0
    parts: int = 1
    command: tuple[str, ...] = ()
    weight: Weight = Weight()

    @property
    def label(self) -> str:
        """How it is called in the progress and in the weights."""
        name = self.name if self.way is PLAIN else f"{self.name} ({self.way.name})"
        return name if self.parts == 1 else f"{name} {self.part + 1}/{self.parts}"


def modules(name: str) -> Iterator[str]:
    """The test modules of a package; any other name is one as it is, be it a module's, a class's or a test's."""
    folder = ROOT.joinpath(*name.split("."))
    if not folder.is_dir():
        yield name
        return
    for path in sorted(folder.rglob("test_*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def read_weights(path: Path = WEIGHTS) -> dict[str, Weight]:
    """The weights that were recorded, by label of whole units."""
    if not path.exists():
        return {}
    return {label: Weight(*numbers) for label, numbers in json.loads(path.read_text("utf-8")).items()}


def write_weights(weights: Mapping[str, Weight], path: Path = WEIGHTS) -> None:
    """Record the weights of what takes a second or more, a line each."""
    rows = [
        f"{json.dumps(label)}: [{weight.seconds:.1f}, {weight.cpu_seconds:.1f}]"
        for label, weight in sorted(weights.items())
        if weight.seconds >= 1.0
    ]
    path.write_text("{\n  " + ",\n  ".join(rows) + "\n}\n", "utf-8")


def units_of(names: Iterable[str], way: Way, weights: Mapping[str, Weight], *, split: bool = True) -> list[Unit]:
    """The units that these names come to; a heavy module is several."""
    found = []
    for module in dict.fromkeys(module for name in names for module in modules(name)):
        whole = Unit(module, way)
        weight = weights.get(whole.label, Weight())
        parts = max(1, math.ceil(weight.seconds / PART_SECONDS)) if split else 1
        share = Weight(weight.seconds / parts, weight.cpu_seconds / parts)
        found += [attrs.evolve(whole, part=part, parts=parts, weight=share) for part in range(parts)]
    return found


def choose(waiting: Sequence[Unit], running: Iterable[Unit], cores: int, ways: Collection[Way] = ()) -> Unit | None:
    """
    The unit to start next beside those that are running, or None where it is better to wait.

    It is the longest of those that leave the cores no more to do than they can: tests that mostly wait run beside one
    that computes. Of those that are not long it is one for which there is a free process, of one of these ways.
    """
    busy = sum(unit.weight.share for unit in running)
    fitting = [unit for unit in waiting if not busy or busy + unit.weight.share <= cores]

    def rank(unit: Unit) -> tuple[float, bool, float]:
        seconds = unit.weight.seconds
        return seconds if seconds >= LONG_SECONDS else 0.0, unit.way in ways, seconds

    return max(fitting, key=rank, default=None)


def expected_seconds(units: Sequence[Unit], cores: int, jobs: int) -> float:
    """How long these units take together on an idle machine: the same choices, in time that is only counted."""
    waiting, running, now = list(units), list[tuple[float, Unit]](), 0.0
    while waiting or running:
        while len(running) < jobs and (unit := choose(waiting, [u for _, u in running], cores)) is not None:
            waiting.remove(unit)
            running.append((now + unit.weight.seconds, unit))
        running.sort(key=lambda pair: pair[0])
        now, _ = running.pop(0)
    return now
