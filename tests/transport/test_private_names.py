"""The wall: private names of other projects are used in vespa/transport only, and each has a line that was checked."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from types import FunctionType

from twisted.trial.unittest import SynchronousTestCase

import vespa.transport
from vespa.transport import private_names
from vespa.transport.private_names import FAST, OTHERS, is_there, missing

ROOT = Path(__file__).parent.parent.parent
PROJECTS = ("twisted", "OpenSSL", "treq", "klein", "cryptography", "service_identity", "socket", "ssl", "asyncio")
DISTRIBUTIONS = {"twisted": "Twisted", "OpenSSL": "pyOpenSSL"}
PYTHONS_OWN = frozenset({"_exit", "_MEIPASS"})
"""Documented by Python, in spite of their names."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != ""


def own_names(tree: ast.Module) -> Iterator[str]:
    """The private names that a module's classes and functions define themselves."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        yield part.id
                    elif isinstance(part, ast.Attribute) and ast.unparse(part.value) in ("self", "cls"):
                        yield part.attr


def used_names(tree: ast.Module) -> Iterator[str]:
    """The private names of attributes that a module reads or sets, or imports from another project."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PROJECTS:
            yield from (alias.name for alias in node.names)
            yield from (node.module or "").split(".")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from alias.name.split(".")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            if len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                yield str(node.args[1].value)


def foreign_names(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Each module with each private name that it uses and that none of these modules defines."""
    ours = {name for tree in trees.values() for name in own_names(tree)}
    listed = {name.split(".")[-1] for name in (*FAST, *OTHERS, *private_names.REACTOR)}
    for module, tree in trees.items():
        for name in sorted(set(filter(is_private, used_names(tree)))):
            if (name not in ours or name in listed) and name not in PYTHONS_OWN:
                yield module, name


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules of vespa/transport that a module imports from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found = re.fullmatch(r"(?:vespa\.)?transport(?:\.(\w+))?", node.module or "")
            if found is not None:
                yield from [found[1]] if found[1] else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[2] for alias in node.names if alias.name.startswith("vespa.transport."))


def parsed() -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "vespa").rglob("*.py"))
    }


def parts_of(name: str) -> set[str]:
    return {part for part in name.split(".") if is_private(part)}


OPEN = frozenset(
    {
        *("certificates", "choice", "descriptors", "endpoint_problem", "endpoint_strings", "errors", "listen"),
        *("origin", "own_reactor", "platform", "resets", "sockets", "splice", "tls_resolve", "turn_end"),
    }
)
"""What the rest of Vespa may import of this package: these do the same whichever transports are chosen."""

LINES = {part for name in (*FAST, *OTHERS, *private_names.REACTOR) for part in parts_of(name)}


class Wall(SynchronousTestCase):
    def test_only_here(self) -> None:
        """No module outside of vespa/transport uses a private name of another project."""
        found = [use for use in foreign_names(parsed()) if not use[0].startswith("vespa.transport.")]
        self.assertEqual(found, [])

    def test_choice_is_behind_it(self) -> None:
        """The rest of Vespa imports no module in which one kind of transport is made."""
        found = [
            (module, name)
            for module, tree in parsed().items()
            if not module.startswith("vespa.transport.")
            for name in imported(tree)
            if name not in OPEN
        ]
        self.assertEqual(found, [])

    def test_each_has_a_line(self) -> None:
        """Each private name that is used has a line that says what it was checked against, and no line is idle."""
        used = {name for module, name in foreign_names(parsed()) if module.startswith("vespa.transport.")}
        overridden = {name for _, name in overrides()}
        self.assertEqual(used - LINES, set())
        self.assertEqual(overridden - LINES, set())
        self.assertEqual(LINES - used - overridden, set())

    def test_versions(self) -> None:
        """A line's version is one of the project's own, and not newer than the one that is installed."""
        for name, checked in {**FAST, **OTHERS}.items():
            project = name.partition(".")[0]
            installed = python_version() if project == "socket" else version(DISTRIBUTIONS[project])
            self.assertTrue(re.fullmatch(r"\d+\.\d+\.\d+", checked), name)
            self.assertLessEqual(numbers(checked), numbers(installed), name)

    def test_all_are_there(self) -> None:
        """The installed packages have all of these names."""
        self.assertEqual(missing(), "")
        self.assertEqual(missing(OTHERS), "")


class Checks(SynchronousTestCase):
    """What looks after the wall does see."""

    def test_missing(self) -> None:
        """A name that is not there is found, be it a module's, a class's, or one that only instances have."""
        self.assertTrue(is_there("twisted.internet.abstract.FileDescriptor._tempDataLen"))
        for name in (
            "twisted.internet.abstract.FileDescriptor._renamed",
            "twisted.internet.abstract._renamed",
            "twisted.internet.renamed.FileDescriptor._tempDataLen",
            "renamed.internet",
            "OpenSSL.SSL._lib.SSL_renamed",
        ):
            self.assertFalse(is_there(name), name)
        self.assertEqual(
            missing(("OpenSSL.SSL._lib", "OpenSSL.SSL._renamed", "OpenSSL.SSL._too")), "OpenSSL.SSL._renamed"
        )

    def test_uses(self) -> None:
        """A private name is found however it is reached, unless a module of ours defines it."""
        for source in (
            "transport._tempDataLen",
            "x.y._unheard_of",
            "getattr(transport, '_unheard_of', None)",
            "from twisted.internet.endpoints import _parse",
            "import twisted._threads",
            "class A(B):\n    def f(self): return self._unheard_of",
        ):
            self.assertEqual(len(list(foreign_names({"vespa.http.x": ast.parse(source)}))), 1, source)
        for source in ("class A:\n    _ours = 1\n    def f(self): return self._ours", "x.__class__", "os._exit(1)"):
            self.assertEqual(list(foreign_names({"vespa.http.x": ast.parse(source)})), [], source)

    def test_imports(self) -> None:
        """A module of this package is found however it is imported."""
        for source in (
            "from vespa.transport.reactor import install",
            "from vespa.transport import reactor",
            "import vespa.transport.reactor",
            "from .transport import reactor",
            "from .transport.reactor import install",
        ):
            self.assertEqual(list(imported(ast.parse(source))), ["reactor"], source)
        self.assertEqual(list(imported(ast.parse("from vespa.http.upstream_transport import x"))), [])

    def test_overrides(self) -> None:
        """A private method of Twisted's that a class of ours overrides is found."""
        self.assertIn(("vespa.transport.tls_transport", "_postLoseConnection"), set(overrides()))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def overrides() -> Iterator[tuple[str, str]]:
    """Each private name of a class of ours that a class of Twisted's above it has or speaks of."""
    for module in pkgutil.walk_packages(vespa.transport.__path__, "vespa.transport."):
        loaded = importlib.import_module(module.name)
        for owner in vars(loaded).values():
            if not isinstance(owner, type) or owner.__module__ != module.name:
                continue
            ours = spoken_of(owner)
            for base in owner.__mro__[1:]:
                if base.__module__.split(".")[0] in PROJECTS:
                    yield from ((module.name, name) for name in ours & spoken_of(base))


def spoken_of(owner: type) -> set[str]:
    """The private names that a class defines or that its methods, as they were written there, use."""
    functions = [
        value
        for value in vars(owner).values()
        if isinstance(value, FunctionType) and value.__module__ == owner.__module__
    ]
    names = {*vars(owner), *(name for function in functions for name in function.__code__.co_names)}
    return set(filter(is_private, names))
