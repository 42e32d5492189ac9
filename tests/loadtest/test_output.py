"""Laws of the places where a report goes: every form is complete, and one that fails does not cost the others."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import mixed, outcome, report_of, stats_of, swept
from vespa.config.load import LoadSettings
from vespa.config.thresholds import threshold
from vespa.loadtest.output import Result, files, is_one_place, result_of, result_of_sweep, unwritable, write

GOOD = report_of(stats_of(outcome(0, 1.0), outcome(1, 1.0)))


class Full(io.StringIO):
    """A standard output whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError("the reader is gone")


class WriteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.json, self.html = str(self.folder / "report.json"), str(self.folder / "report.html")
        self.output, self.errors = io.StringIO(), io.StringIO()

    def write(self, result: Result, **options: Any) -> int:
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        return write(result, LoadSettings(**options), {})

    def test_all_forms(self) -> None:
        """The files have the JSON and the page, and standard output has the table."""
        result = result_of(GOOD, LoadSettings())
        self.assertEqual(self.write(result, json=self.json, html=self.html), 0)
        document = json.loads(Path(self.json).read_text("utf-8"))
        self.assertEqual((document["succeeded"], document["thresholds"]), (2, []))
        self.assertIn("<svg", Path(self.html).read_text("utf-8"))
        self.assertIn("2 sent, 2 succeeded", self.output.getvalue())

    def test_json_alone(self) -> None:
        """On standard output the JSON replaces the table."""
        self.assertEqual(self.write(result_of(GOOD, LoadSettings()), json="-"), 0)
        self.assertEqual(json.loads(self.output.getvalue())["succeeded"], 2)

    def test_failures(self) -> None:
        """A request that failed, or a threshold that is passed, is the exit code 1."""
        self.assertEqual(self.write(result_of(mixed(), LoadSettings())), 1)
        options = LoadSettings(fail_if=(threshold("p50>1us"),))
        result = result_of(GOOD, options)
        self.assertEqual(self.write(result, json=self.json), 1)
        (found,) = json.loads(Path(self.json).read_text("utf-8"))["thresholds"]
        self.assertTrue(found["failed"])

    def test_file_that_cannot_be_written(self) -> None:
        """It is named with its option, the exit code is 1, and the rest of the report is complete."""
        lost = str(self.folder / "gone" / "report.json")
        self.assertEqual(self.write(result_of(GOOD, LoadSettings()), json=lost, html=self.html), 1)
        self.assertIn(f"--json: cannot write {lost}: No such file", self.errors.getvalue())
        self.assertTrue(os.path.exists(self.html))
        self.assertIn("2 succeeded", self.output.getvalue())

    def test_no_reader(self) -> None:
        """Where nobody reads standard output, the files are written all the same."""
        self.output = Full()
        self.assertEqual(self.write(result_of(GOOD, LoadSettings()), json=self.json), 1)
        self.assertIn("could not write the report: the reader is gone", self.errors.getvalue())
        self.assertTrue(os.path.exists(self.json))

    def test_sweep(self) -> None:
        """Each level of a sweep has its report and its thresholds, and one bad level is enough for the exit code 1."""
        sweep = swept()
        options = LoadSettings(fail_if=(threshold("errors>1%"),))
        result = result_of_sweep(sweep, "what is tested", options)
        self.assertEqual(self.write(result, json=self.json, html=self.html), 1)
        levels = json.loads(Path(self.json).read_text("utf-8"))["levels"]
        found = [(level["value"], level["report"]["thresholds"][0]["failed"]) for level in levels]
        self.assertEqual(found, [(1.0, False), (2.0, False), (4.0, True)])
        self.assertIn("what is tested", self.output.getvalue())
        self.assertEqual(Path(self.html).read_text("utf-8").count("<details"), 3)
        good = evolve(sweep, levels=sweep.levels[:2])
        self.assertEqual(self.write(result_of_sweep(good, "", options)), 0)


class FileTests(SynchronousTestCase):
    def test_files(self) -> None:
        """Standard output is no file."""
        self.assertEqual(files(LoadSettings(json="-", html="a")), [("--html", "a")])
        self.assertEqual(files(LoadSettings(json="b")), [("--json", "b")])

    def test_unwritable(self) -> None:
        """The reason is found without making the file."""
        folder = self.mktemp()
        os.mkdir(folder)
        path = os.path.join(folder, "report.json")
        self.assertEqual(unwritable(path), "")
        self.assertFalse(os.path.exists(path))
        Path(path).touch()
        self.assertEqual(unwritable(path), "")
        for wrong, said in (
            (folder, "it is a folder"),
            (path + "/", "it is a folder"),
            (os.path.join(folder, "gone", "x"), "there is no folder "),
        ):
            self.assertIn(said, unwritable(wrong))

    def test_no_permission(self) -> None:
        """What this user may not write has a reason of its own. The test may run as root, which may write all."""
        folder = os.path.realpath(self.mktemp())
        os.mkdir(folder)
        path = os.path.join(folder, "report.json")
        self.patch(os, "access", lambda *_: False)
        self.assertEqual(unwritable(path), f"this user may not create files in {folder}")
        Path(path).touch()
        self.assertEqual(unwritable(path), "this user may not write it")

    def test_one_place(self) -> None:
        """Two streams to the same file are in one place; a stream without a descriptor is in none."""
        first, second = self.mktemp(), self.mktemp()
        with open(first, "w") as one, open(first, "a") as same, open(second, "w") as other:
            self.assertTrue(is_one_place(one, same))
            self.assertFalse(is_one_place(one, other))
            self.assertFalse(is_one_place(one, io.StringIO()))
