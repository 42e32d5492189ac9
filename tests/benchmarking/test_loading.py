"""Finding a benchmark by its name, and the errors if that fails."""

from __future__ import annotations

import io
import sys
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import benchmarks.tgi
from vespa.benchmarking.loading import Fault, Function, describe, is_built_in, load, one_line


class LoadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.files = 0
        self.patch(sys, "path", list(sys.path))
        self.patch(sys, "modules", dict(sys.modules))
        self.printed = io.StringIO()
        self.patch(sys, "stderr", self.printed)

    def file(self, source: str) -> Path:
        """A new file with this source."""
        self.files += 1
        path = self.folder / f"bench_{self.files}.py"
        path.write_text(textwrap.dedent(source))
        return path

    def loaded(self, source: str, name: str = "benchmark") -> Function:
        return load(f"{self.file(source)}:{name}")[0]

    def error(self, source: str = "", spec: str = "") -> str:
        return str(self.assertRaises(Fault, load, spec or f"{self.file(source)}:benchmark"))

    def test_found(self) -> None:
        """A module's function is found, and a file's, each with its file."""
        function, file = load("benchmarks.tgi:benchmark")
        self.assertEqual((function, file), (benchmarks.tgi.benchmark, benchmarks.tgi.__file__))
        path = self.file("async def benchmark(url, session): return 1")
        function, file = load(f"{path}:benchmark")
        self.assertEqual((function.__name__, file), ("benchmark", str(path)))

    def test_kinds(self) -> None:
        """A decorated function and an object that can be called are as good as a coroutine function."""
        source = """
            import functools
            def wrap(function):
                @functools.wraps(function)
                def inner(*arguments):
                    return function(*arguments)
                return inner
            @wrap
            async def decorated(url, session): return 1
            class Measure:
                async def __call__(self, url, session): return 2
            thing = Measure()
            """
        self.assertTrue(callable(self.loaded(source, "decorated")))
        self.assertTrue(callable(self.loaded(source, "thing")))

    def test_names(self) -> None:
        """A name without a module or without a function is an error."""
        for spec in ("benchmark", ":benchmark", "benchmarks.tgi:", ""):
            self.assertIn("is neither module:function nor", str(self.assertRaises(Fault, load, spec)))

    def test_hints(self) -> None:
        """The error for a missing function suggests the nearest name."""
        for spec, hint in (
            ("benchmarks.vllm:benchmark", "did you mean benchmarks.openai_chat:benchmark?"),
            ("benchmarks.openai_chatt:benchmark", "did you mean benchmarks.openai_chat:benchmark?"),
            ("benchmark.tgi:benchmark", "did you mean benchmarks.tgi:benchmark?"),
            ("benchmarks.tgi:benchmarks", "did you mean benchmarks.tgi:benchmark?"),
            ("mine:benchmark", "the built-in ones are benchmarks.openai_chat:benchmark"),
            (f"{self.folder}/none.py:benchmark", "there is no file"),
        ):
            self.assertIn(hint, self.error(spec=spec))
        broken = self.error("import no_such_thing\nasync def benchmark(url, session): return 1")
        self.assertIn("No module named 'no_such_thing'", broken)
        self.assertNotIn("did you mean", broken)

    def test_not_importable(self) -> None:
        """The error for a failed import says where it failed; the traceback is printed."""
        self.assertIn("cannot import no.such.module: ModuleNotFoundError", self.error(spec="no.such.module:f"))
        self.assertIn("none.py: FileNotFoundError", self.error(spec=f"{self.folder}/none.py:f"))
        self.assertIn("SyntaxError", self.error("def ("))
        raised = self.error("import sys\nsys.exit('broken config')")
        self.assertIn("SystemExit: broken config", raised)
        self.assertIn(f"({self.folder}/bench_{self.files}.py:2, in <module>)", raised)
        self.assertIn("Traceback (most recent call last):", self.printed.getvalue())

    def test_no_function(self) -> None:
        """Anything but a coroutine function is an error."""
        self.assertIn("has no benchmark", self.error("x = 1"))
        self.assertIn("not a coroutine function", self.error("def benchmark(url, session): return 1.0"))
        self.assertIn("not a coroutine function", self.error("benchmark = 3"))


class DescriptionTests(SynchronousTestCase):
    def raised(self, error: BaseException) -> BaseException:
        try:
            raise error
        except BaseException as caught:
            return caught

    def test_place(self) -> None:
        """A message has the error's type, its text in one line, and the place."""
        said = describe(self.raised(KeyError("a\n b")), __file__)
        self.assertEqual(said.partition(" (")[0], r"KeyError: 'a\n b'")
        self.assertTrue(said.endswith(", in raised)"), said)
        self.assertIn(f"({__file__}:", said)
        self.assertTrue(describe(self.raised(Fault("x")), __file__).startswith("vespa.benchmarking.loading.Fault: x ("))

    def test_without(self) -> None:
        """An error without a message or a traceback has its type; one that has none to give does not fail."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        self.assertEqual(describe(ValueError(), None), "ValueError")
        self.assertTrue(describe(Mute(), None).endswith("Mute"))

    def test_long(self) -> None:
        """A long message is cut off, and lines are joined."""
        self.assertEqual(one_line(ValueError("a\n  b\tc")), "a b c")
        self.assertEqual(one_line(ValueError("x" * 5000)), "x" * 1000 + "…")

    def test_built_in(self) -> None:
        """Only the modules in `benchmarks` beside `vespa` are built in."""
        self.assertTrue(is_built_in(benchmarks.tgi.__file__))
        self.assertFalse(is_built_in(__file__))
        self.assertFalse(is_built_in(None))
