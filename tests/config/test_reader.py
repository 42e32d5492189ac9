"""Command line and environment become values, and every mistake is named."""

from __future__ import annotations

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.reader import Given, Reading, SettingsError
from vespa.config.schema import option, variable
from vespa.config.values import text, whole


@frozen(kw_only=True)
class Things:
    worker_port: int = variable(whole(1), "3000", "A port.", fallback="OLD_PORT")
    public_port: int | None = variable(whole(1), None, "Another.", name="PORT_<port>")
    secret: str = option(text, "", "A key.", "THE_KEY", secret=True)
    many: tuple[int, ...] = option(whole(0), "", "Numbers.", "MANY", many=True)
    quiet: bool = option(None, "", "A switch.")


def reading(environ: dict[str, str] | None = None, **given: list[str]) -> Reading[Things]:
    return Reading(Things, environ or {}, Given(given))


class ValueTests(SynchronousTestCase):
    def test_order(self) -> None:
        """The command line precedes the environment, a name its older one, and the last text the others."""
        environ = {"OLD_PORT": "1", "THE_KEY": "k", "MANY": "1, 2 3"}
        found = reading(environ, many=["4", "5"], quiet=[""])
        self.assertEqual(found.settings(), Things(worker_port=1, public_port=None, secret="k", many=(4, 5), quiet=True))
        self.assertEqual(
            found.sources, {"worker_port": "OLD_PORT", "secret": "THE_KEY", "many": "--many", "quiet": "--quiet"}
        )
        self.assertEqual(reading({**environ, "VESPA_WORKER_PORT": "2"}).values["worker_port"], 2)
        self.assertEqual(reading(environ).values["many"], (1, 2, 3))
        self.assertEqual(reading(secret=["a", "b"]).values["secret"], "b")

    def test_empty(self) -> None:
        """An empty value counts as not given."""
        found = reading({"VESPA_WORKER_PORT": " ", "OLD_PORT": "7", "MANY": ""}, secret=["", " "])
        self.assertEqual(found.settings(), Things(worker_port=7))

    def test_name_with_a_port(self) -> None:
        """A name that contains the worker's port is looked up with that port."""
        found = reading({"OLD_PORT": "7", "PORT_7": "9", "PORT_3000": "8"})
        self.assertEqual((found.values["public_port"], found.sources["public_port"]), (9, "PORT_7"))

    def test_fixed(self) -> None:
        """Fixed fields are not read."""
        found = Reading(Things, {"OLD_PORT": "x"}, worker_port=5)
        self.assertEqual(found.settings().worker_port, 5)


class ProblemTests(SynchronousTestCase):
    def test_all_at_once(self) -> None:
        """Every wrong value is named by where it stood, with all that is wrong with the line, in one error."""
        found = Reading(Things, {"OLD_PORT": "x" * 99}, Given({"many": ["1", "y"]}, ("option --z not recognized",)))
        self.assertEqual(found.values["worker_port"], 3000)
        error = self.assertRaises(SettingsError, found.settings, ["a hint"])
        self.assertEqual(
            str(error),
            "3 mistakes in the options:\n"
            "  option --z not recognized\n"
            f"  OLD_PORT='{'x' * 77}...': must be a whole number\n"
            "  --many='y': must be a whole number\n"
            "  a hint",
        )
        self.assertEqual(len(error.problems), 3)
        self.assertEqual(str(SettingsError(["p"], what="settings")), "1 mistake in the settings:\n  p")

    def test_needed(self) -> None:
        """A required value is reported as not set or empty; a wrong value is one mistake, not two."""
        found = reading({"PORT_3000": ""})
        found.need("public_port", "why")
        found.need("secret", "why")
        found.need("worker_port", "why")
        self.assertEqual(
            found.problems, {"public_port": "PORT_3000 is empty: why", "secret": "THE_KEY is not set: why"}
        )
        found = reading({"PORT_3000": "x"})
        found.need("public_port", "why")
        self.assertEqual(found.problems, {"public_port": "PORT_3000='x': must be a whole number"})

    def test_wrong(self) -> None:
        """A value that turns out to be wrong later is named by where it stood, and shown unless it is a secret."""
        found = reading({"OLD_PORT": "7", "THE_KEY": "hush"})
        for attribute in ("worker_port", "secret", "public_port"):
            found.wrong(attribute, "why")
        self.assertEqual(
            list(found.problems.values()), ["OLD_PORT=7: why", "THE_KEY=(hidden): why", "PORT_7=None: why"]
        )

    def test_secrets(self) -> None:
        """The reader knows all secrets, valid or not, and no message shows them."""
        found = reading({"THE_KEY": "hush-hush"}, secret=["a\nb", "Bearer hush-hush-hush"])
        self.assertEqual(found.secrets, ("a\nb", "Bearer hush-hush-hush", "hush-hush-hush"))
        self.assertEqual(found.problems, {"secret": "--secret=(hidden): must not contain control characters"})
        found.hide("another")
        self.assertEqual(found.secrets[-1], "another")

    def test_password(self) -> None:
        """A value that may be an address with a password is not shown."""
        self.assertIn("(hidden)", reading({"OLD_PORT": "http://me:hush@x"}).problems["worker_port"])
