"""What a file makes is kept; of what it passes to `run()` a bounded part."""

from __future__ import annotations

from typing import NoReturn

from twisted.trial.unittest import SynchronousTestCase

from vespa.migrating.recorder import MOST_OPTIONS, Recorder


class Served(Exception):
    """The file has started its server."""


def served() -> NoReturn:
    raise Served


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


class RecorderTests(SynchronousTestCase):
    def test_config(self) -> None:
        """The last worker's configuration counts, or else the last one that was made."""
        recorder = Recorder(served)
        self.assertIsNone(recorder.config)
        recorder.configs += ["a", "b"]
        self.assertEqual(recorder.config, "b")
        recorder.workers.append("a")
        self.assertEqual(recorder.config, "a")

    def test_options(self) -> None:
        """Options are kept as text, whatever they are: so many, of such a length."""
        recorder = Recorder(served)
        self.assertRaises(Served, recorder.run, {"host": "h", "x" * 1000: "y" * 1000, "z": Unspeakable()})
        self.assertEqual((recorder.options["host"], recorder.options["z"]), ("'h'", "<Unspeakable>"))
        self.assertLessEqual(max(map(len, [*recorder.options, *recorder.options.values()])), 200)
        self.assertRaises(Served, recorder.run, dict.fromkeys(map(str, range(1000))))
        self.assertEqual(len(recorder.options), MOST_OPTIONS)
