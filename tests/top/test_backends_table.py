"""The table of several backends, as a terminal shows it."""

from __future__ import annotations

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.top.documents import backend
from vespa.runtime.terminal import Terminal
from vespa.top.backends_table import BackendsTable

STATES = ("ready", "suspect", "benchmarking", "errored")


def shown(rows: list[dict[str, Any]], width: int) -> list[list[str]]:
    """The words of each line."""
    out = io.StringIO()
    Terminal(out, {}, width=width).print(BackendsTable(rows), soft_wrap=False)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines), lines
    return [line.replace("in flight", "in_flight").split() for line in lines]


class BackendsTableTests(SynchronousTestCase):
    rows = [backend(number, state=state) for number, state in enumerate(STATES)]

    def test_wide(self) -> None:
        """A row has name, state, requests in flight, their work, throughput, and how many requests moved."""
        header, *rows = shown(self.rows, 80)
        self.assertEqual(header, ["backend", "state", "in_flight", "load", "units/s", "moved"])
        expected = [[f"127.0.0.1:800{n}", state, "12", "3,200", "1,250", "0"] for n, state in enumerate(STATES)]
        self.assertEqual(rows, expected)

    def test_narrow(self) -> None:
        """A narrow terminal has fewer columns, the last ones left out, and each number and each state is whole."""
        wide = shown(self.rows, 80)
        counts = set()
        for width in range(30, 80):
            narrow = shown(self.rows, width)
            count = len(narrow[0])
            self.assertEqual(narrow, [row[:count] for row in wide], width)
            counts.add(count)
        self.assertEqual(counts, {2, 3, 4, 5, 6})

    def test_long_name(self) -> None:
        """A long name is folded: it takes no figure's place, and no part of it is lost, for its end tells it apart."""
        name = "backend-with-a-long-name.example.net:18000/prefix"
        lines = shown([backend(0, name=name)], 80)
        self.assertEqual(lines[0][-1], "moved")
        self.assertEqual("".join(line[0] for line in lines[1:]), name)

    def test_unknown(self) -> None:
        """A row of another version of Vespa, or of another program, may lack anything."""
        last = shown([{}, {"name": 7, "load": "much", "state": None}, backend(0)], 80)[-1]
        self.assertEqual(last[0], "127.0.0.1:8000")

    def test_not_measured(self) -> None:
        """The throughput of a backend that is not measured yet is empty, and not 0."""
        _, row = shown([backend(0, throughput=None)], 80)
        self.assertEqual(row, ["127.0.0.1:8000", "ready", "12", "3,200", "0"])
