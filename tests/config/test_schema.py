"""A class of settings is its own table."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.client import ClientSettings
from vespa.config.demo import DemoSettings
from vespa.config.load import LoadSettings
from vespa.config.schema import check, defaults, option, rows, variable
from vespa.config.values import Number, choice, seconds, text, whole
from vespa.config.worker import WorkerSettings


@frozen(kw_only=True)
class Things:
    wait_time: float = variable(seconds, "5", "A time.")
    port: int | None = variable(whole(1), None, "A port.", name="PORT", fallback="OLD_PORT")
    the_key: str = option(text, "", "A key.", "THE_KEY", flag="key", secret=True)
    words: tuple[str, ...] = option(choice("one", "two"), "", "Words.", many=True)
    rate: float = option(Number(0, 9, "m/s", above=True), "3", "A rate.")
    quiet: bool = option(None, "", "A switch.")

    def __attrs_post_init__(self) -> None:
        check(self)


class RowTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Names follow from the field's, unless others are given; units from what reads the value."""
        self.assertEqual(
            [(row.attribute, row.flag, row.name, row.unit) for row in rows(Things)],
            [
                ("wait_time", "", "VESPA_WAIT_TIME", "seconds"),
                ("port", "", "PORT", ""),
                ("the_key", "key", "THE_KEY", ""),
                ("words", "words", "", ""),
                ("rate", "rate", "", "m/s"),
                ("quiet", "quiet", "", ""),
            ],
        )

    def test_defaults(self) -> None:
        """A default is its parsed text; without a text it is the empty value of the field's type."""
        self.assertEqual(
            defaults(Things), {"wait_time": 5, "port": None, "the_key": "", "words": (), "rate": 3, "quiet": False}
        )
        self.assertNotIn("hush", repr(Things(the_key="hush")))

    def test_every_row(self) -> None:
        """Each row of each command has a meaning that is a sentence, and a default that reads back as its value."""
        for schema in (WorkerSettings, ClientSettings, LoadSettings, DemoSettings):
            for row in rows(schema):
                self.assertTrue(row.help.endswith("."), row.attribute)
                if row.parse is not None and row.default:
                    value = row.parse(row.default)
                    self.assertEqual((value,) if row.many else value, defaults(schema)[row.attribute], row.attribute)

    def test_names_are_unique(self) -> None:
        """Within a command no two rows have the same name."""
        for schema in (WorkerSettings, ClientSettings, LoadSettings, DemoSettings):
            for names in (
                [row.flag for row in rows(schema) if row.flag],
                [row.short for row in rows(schema) if row.short],
                [name for row in rows(schema) for name in (row.name, row.fallback) if name],
            ):
                self.assertEqual(len(names), len(set(names)), schema)


class CheckTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A program's value is parsed like one of the command line."""
        found = Things(words=["ONE", "two"], port=3, rate=2, quiet=True, the_key="k")  # type: ignore[arg-type]
        self.assertEqual((found.words, found.port, found.rate, found.quiet), (("one", "two"), 3, 2, True))

    def test_wrong(self) -> None:
        """A value of another kind, or out of its bounds, is named."""
        wrong: list[tuple[str, Any]] = [
            ("wait_time", -1),
            ("wait_time", "5"),
            ("wait_time", float("nan")),
            ("wait_time", True),
            ("port", 0),
            ("port", 1.5),
            ("port", "8010"),
            ("the_key", 1),
            ("the_key", "a\nb"),
            ("words", "one"),
            ("words", ("three",)),
            ("words", (1,)),
            ("rate", 0),
            ("rate", 10),
            ("quiet", 1),
            ("quiet", "yes"),
        ]
        for name, value in wrong:
            error = self.assertRaises(ValueError, Things, **{name: value})
            self.assertTrue(str(error).startswith(name), error)

    def test_all_at_once(self) -> None:
        """One error names all wrong fields and shows no secret."""
        error = self.assertRaises(ValueError, Things, port=0, the_key="hush\n", rate=11)
        self.assertEqual(
            str(error),
            "port=0: must be at least 1; the_key=(hidden): must not contain control characters; "
            "rate=11: must be more than 0, 9 at most",
        )
