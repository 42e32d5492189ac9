"""Private names are used only in their class or module, so that a change stays there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

# The one place for private names of Twisted's and OpenSSL's; it lists them itself.
EXCLUDED = ("vespa/transport/",)

PUBLIC = frozenset({"os._exit", "sys._getframe"})
"""Names that begin with an underscore, and are documented all the same."""

KNOWN: dict[str, int] = {
    "tests/contract/parsers.py": 1,
    "tests/stateful/laws.py": 1,
    "tests/transport/test_listen.py": 1,
}
"""How many private names a file reads still. No file is added, no number is raised."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names(node: ast.ClassDef) -> frozenset[str]:
    """The private names that a class gives itself, in its body or by `self`."""
    return frozenset(
        found.name
        if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef))
        else found.id
        if isinstance(found, ast.Name)
        else found.attr
        for found in ast.walk(node)
        if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(found, ast.Name) and isinstance(found.ctx, ast.Store))
        or (
            isinstance(found, ast.Attribute)
            and isinstance(found.ctx, ast.Store)
            and isinstance(found.value, ast.Name)
            and found.value.id in {"self", "cls"}
        )
    )


def private_reads(tree: ast.AST, own: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """
    Line and text of each private name of another class or module.

    A class's own names may be read of another object of it, where that has a name: `other._count`.
    """
    for node in ast.iter_child_nodes(tree):
        owner: ast.expr | None
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else ""
            is_super = isinstance(owner, ast.Call) and ast.unparse(owner.func) in {"super", "type"}
            is_own = name in {"self", "cls"} or is_super or (name and node.attr in own)
            if not is_own and ast.unparse(node) not in PUBLIC:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"import {alias.name}") for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr", "hasattr", "delattr"}:
            owner, attribute = (*node.args, None, None)[:2]
            named = attribute.value if isinstance(attribute, ast.Constant) else ""
            is_own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
            if not is_own and isinstance(named, str) and is_private(named):
                yield node.lineno, ast.unparse(node)
        yield from private_reads(node, own | own_names(node) if isinstance(node, ast.ClassDef) else own)


def all_reads() -> dict[str, list[tuple[int, str]]]:
    """By file, of the product and the tests."""
    found = {}
    for package in ("vespa", "benchmarks", "perf", "tests"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            reads = [] if name.startswith(EXCLUDED) else list(private_reads(ast.parse(path.read_text(), str(path))))
            if reads:
                found[name] = reads
    return found


class PrivateTests(SynchronousTestCase):
    def test_private_names(self) -> None:
        """No private name of another class or module is read: what others need to see has a public name."""
        found = all_reads()
        above = {name: reads for name, reads in found.items() if len(reads) > KNOWN.get(name, 0)}
        self.assertEqual(above, {})
        self.assertEqual([name for name in KNOWN if name not in found], [], "need not be listed")


class CheckTests(SynchronousTestCase):
    """What looks for private names does see."""

    def reads(self, source: str) -> int:
        return len(list(private_reads(ast.parse(source))))

    def test_found(self) -> None:
        """However it is reached, and whether it is read, written or called."""
        for source in (
            "a._b",
            "a._b = 1",
            "a._b()",
            "self.a._b",
            "f()._b",
            "from a import _b",
            "getattr(a, '_b', None)",
            "setattr(a, '_b', 1)",
            "class A:\n    def f(self, other):\n        return other._b",
            "class A:\n    _b = 1\n    def f(self):\n        return self.a._b",
        ):
            self.assertEqual(self.reads(source), 1, source)

    def test_let_be(self) -> None:
        """A class's own names, also of another object of it; names of the language; what is public all the same."""
        for source in (
            "self._b",
            "cls._b",
            "super()._b",
            "a.__class__",
            "getattr(self, '_b')",
            "import os\nos._exit(1)",
            "class A:\n    def __init__(self):\n        self._b = 1\n    def f(self, other):\n        return other._b",
            "class A:\n    def _b(self):\n        pass\n    def f(self):\n        a = A()\n        a._b()",
        ):
            self.assertEqual(self.reads(source), 0, source)
