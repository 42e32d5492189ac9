"""The layers of packages: an import only points down; clock, environment and chance are read in few modules."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

CONFIG_NEEDS = (
    "vespa.runtime.secret vespa.runtime.local_addresses "
    "vespa.transport.origin vespa.transport.choice vespa.transport.endpoint_strings"
)
BELOW_PROXY = "vespa.runtime vespa.http vespa.transport vespa.protocol vespa.vast vespa.accounting"

OBSERVERS = ("metrics", "status", "observability")
"""The modules of worker and client that know observability, and what each may import for it."""
OBSERVES = "vespa.observability vespa.config"

# What each package may import of ours, itself always included. A module's own row counts before its package's.
ALLOWED: dict[str, frozenset[str]] = {
    name: frozenset(text.split())
    for name, text in {
        "vespa": "",
        # Values: messages of HTTP, what a worker counts, messages of Vast.
        "vespa.protocol": "",
        "vespa.accounting": "vespa.protocol",
        "vespa.vast": "vespa.protocol vespa.accounting",
        # What can be set: seen where a process starts, and where the services are made of it.
        "vespa.config": f"vespa vespa.vast vespa.accounting vespa.protocol {CONFIG_NEEDS}",
        "vespa.runtime": "",
        "vespa.runtime.process": "vespa.runtime vespa.transport",
        "vespa.runtime.start_line": "vespa vespa.runtime vespa.transport",
        # HTTP, and the sockets beneath it: nothing of Vast's.
        "vespa.transport": "vespa.protocol",
        "vespa.http": "vespa.transport vespa.protocol",
        # What inference servers can be asked, without I/O.
        "vespa.engines": "vespa.runtime",
        "vespa.proxy": "vespa vespa.runtime vespa.http vespa.transport vespa.protocol vespa.accounting",
        # What operators see: it knows neither worker nor client, which hand it what it shows.
        "vespa.observability": f"vespa vespa.proxy {BELOW_PROXY}",
        "vespa.benchmarking": "vespa vespa.runtime",
        "vespa.worker": f"vespa vespa.proxy vespa.engines {BELOW_PROXY}",
        **{f"vespa.worker.{name}": f"vespa vespa.proxy {BELOW_PROXY} vespa.worker {OBSERVES}" for name in OBSERVERS},
        **{f"vespa.client.{name}": f"vespa vespa.proxy {BELOW_PROXY} vespa.client {OBSERVES}" for name in OBSERVERS},
        "vespa.worker.service": (
            f"vespa vespa.proxy {BELOW_PROXY} vespa.benchmarking vespa.worker vespa.config vespa.observability"
        ),
        # Parts of the service that commands use too.
        "vespa.worker.readiness.setup": "vespa.config vespa.worker vespa.benchmarking",
        "vespa.worker.engine.metrics": "vespa.worker vespa.observability",
        "vespa.worker.sessions.metrics": "vespa.worker vespa.observability",
        "vespa.worker.backends.metrics": "vespa.worker vespa.observability vespa.accounting",
        "vespa.worker.usage.metrics": "vespa.worker vespa.accounting vespa.observability",
        "vespa.worker.usage.setup": (
            f"vespa.proxy {BELOW_PROXY} vespa.worker vespa.config vespa.observability.ended_requests"
        ),
        "vespa.worker.engine.setup": f"vespa.config vespa.worker vespa.engines vespa.proxy {BELOW_PROXY}",
        "vespa.worker.backends.setup": f"vespa.proxy {BELOW_PROXY} vespa.config vespa.worker vespa.benchmarking",
        "vespa.worker.access": "vespa.config vespa.worker vespa.runtime vespa.http vespa.transport vespa.protocol",
        "vespa.worker.obstacles": "vespa.engines vespa.config vespa.proxy vespa.runtime vespa.transport",
        "vespa.worker.sessions.setup": f"{BELOW_PROXY} vespa.worker vespa.config",
        "vespa.worker.listening": f"vespa vespa.proxy {BELOW_PROXY} vespa.config",
        # A process of its own, which reads the environment itself.
        "vespa.worker.certificate": "vespa.config vespa.runtime.files",
        "vespa.client": f"vespa vespa.proxy {BELOW_PROXY}",
        "vespa.client.service": f"vespa vespa.proxy {BELOW_PROXY} vespa.config vespa.client vespa.observability",
        "vespa.client.embedded": f"vespa {BELOW_PROXY} vespa.config vespa.client",
        "vespa.client.command": f"vespa vespa.proxy {BELOW_PROXY} vespa.config vespa.client",
        "vespa.loadtest": f"vespa {BELOW_PROXY} vespa.config vespa.client",
        "vespa.loadtest.command": f"vespa {BELOW_PROXY} vespa.config vespa.client vespa.loadtest",
        # It asks an admin port, as any program may.
        "vespa.top": "vespa.runtime vespa.http vespa.transport",
        "vespa.top.command": "vespa.runtime vespa.http vespa.transport vespa.config vespa.top",
        # It examines what worker and client would meet, with their own parts.
        "vespa.checking": f"vespa vespa.proxy {BELOW_PROXY} vespa.benchmarking vespa.config vespa.worker vespa.client "
        "vespa.engines vespa.observability.admin vespa.top.source",
        # It reads another worker's file, and writes what can be set here.
        "vespa.migrating": "vespa.runtime vespa.config vespa.protocol",
        # What runs beside the file, in its own process and with Python's library alone.
        **{
            f"vespa.migrating.{name}": "vespa.migrating vespa.runtime.parent_death"
            for name in (
                "checked_json",
                "child",
                "confinement",
                "description",
                "messages",
                "official",
                "official_classes",
                "programs",
                "recorder",
                "samples",
                "stand_in",
                "supervisor",
                "words",
            )
        },
        # It speaks to a worker as the world does: over the wire.
        "vespa.simulator": "vespa vespa.runtime vespa.http vespa.protocol vespa.accounting vespa.config.demo",
        "vespa.simulator.demo": "vespa vespa.runtime vespa.config vespa.simulator",
        "vespa.tap": f"vespa {BELOW_PROXY} vespa.config vespa.worker vespa.client",
        "vespa.client_tap": f"vespa vespa.proxy {BELOW_PROXY} vespa.config vespa.client",
        "vespa.cli": (
            "vespa vespa.runtime vespa.config vespa.simulator vespa.client vespa.loadtest vespa.checking vespa.top "
            "vespa.migrating"
        ),
        "benchmarks": "vespa.benchmarking.contract",
    }.items()
}

MOST_LINES = 250
LONG_MODULES: dict[str, int] = {
    "vespa.http.client_connection": 309,
    "vespa.http.connection_pool": 283,
    "vespa.http.response_writer": 299,
    "vespa.http.server_connection": 294,
    "vespa.http.watched_connection": 288,
    "vespa.worker.readiness.monitor": 362,
}
"""Modules that are longer than one should be, and the most lines that each may have. No number is raised."""

VALUES = ("vespa.protocol", "vespa.vast", "vespa.accounting")
"""Packages that do no I/O, know no clock and import no Twisted."""

VALUES_ARE_WITHOUT = frozenset({"twisted", "treq", "klein", "OpenSSL", "socket", "asyncio", "threading", "time"})

# Entry points: what starts as a process, and so has to read the clock and the environment.
ENTRIES = (
    "vespa.tap",
    "vespa.client_tap",
    "vespa.cli",
    "vespa.config.command_line",
    "vespa.runtime.process",
    "vespa.client.command.run",
    "vespa.loadtest.command",
    "vespa.checking.command",
    "vespa.top.command",
    "vespa.checking.benchmark_command",
    "vespa.migrating.command",
    "vespa.simulator",
)
PROCESSES = (
    "vespa.worker.failure_report",
    "vespa.worker.certificate",
    "vespa.worker.launch",
    "vespa.benchmarking.child",
    "vespa.migrating.stand_in",
)

# A name that reads clock, environment, chance or the global reactor, and the places where that is done.
PLACES: dict[str, tuple[str, ...]] = {
    "time.time": (*ENTRIES, *PROCESSES),
    "time.sleep": PROCESSES,
    "os.environ": (*ENTRIES, *PROCESSES, "benchmarks"),
    "os.getenv": (*ENTRIES, *PROCESSES, "benchmarks"),
    "datetime.now": (),
    "datetime.utcnow": (),
    "datetime.today": (),
    "date.today": (),
    "twisted.internet.reactor": ENTRIES,
}
RANDOM_PLACES = (
    *ENTRIES,
    "vespa.worker.service",
    "vespa.worker.access",
    "vespa.worker.readiness.setup",
    "vespa.worker.observability",
    "vespa.client.service",
    "vespa.client.observability",
)
RANDOM_WITH_A_SEED = frozenset({"Random", "SystemRandom"})


def modules(package: str) -> Iterator[tuple[str, ast.Module, bool]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield name, ast.parse(path.read_text(), str(path)), is_package


def imports(name: str, tree: ast.Module, is_package: bool = False) -> Iterator[str]:
    """Every name that is imported, in full, wherever in the module it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: None if is_package and node.level == 1 else -node.level or None]
            if is_package and node.level > 1:
                base = name.split(".")[: 1 - node.level]
            start = ".".join([*base, node.module] if node.module else base) if node.level else node.module or ""
            yield from (f"{start}.{alias.name}" for alias in node.names)


def import_graph(trees: Iterable[tuple[str, ast.Module, bool]]) -> dict[str, set[str]]:
    """Which of these modules each of them imports: at its top, in a function, or for its annotations alone."""
    found = list(trees)
    names = {name for name, _, _ in found}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, tree, is_package in found:
        for imported in imports(name, tree, is_package):
            while imported and imported not in names:
                imported = imported.rpartition(".")[0]
            if imported and imported != name:
                graph[name].add(imported)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules in which each imports each of the others, directly or through them."""
    reached: dict[str, set[str]] = {}
    for name in graph:
        seen: set[str] = set()
        todo = [*graph[name]]
        while todo:
            imported = todo.pop()
            if imported not in seen:
                seen.add(imported)
                todo.extend(graph[imported])
        reached[name] = seen
    groups = {
        frozenset(other for other in reached[name] if name in reached[other]) for name in graph if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def lengths(package: str) -> dict[str, int]:
    """The lines of each module."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): len(path.read_text().splitlines())
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def too_long(lines: dict[str, int], known: dict[str, int]) -> list[str]:
    """The modules with more lines than they may have, and what is listed for nothing."""
    found = [
        f"{name} has {count} lines, {max(MOST_LINES, known.get(name, 0))} are allowed"
        for name, count in lines.items()
        if count > max(MOST_LINES, known.get(name, 0))
    ]
    return found + [f"{name} need not be listed" for name in known if lines.get(name, 0) <= MOST_LINES]


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def row(name: str) -> tuple[str, frozenset[str]]:
    package = max((package for package in ALLOWED if within(name, package)), key=len)
    return package, ALLOWED[package]


def is_allowed(imported: str, package: str, allowed: frozenset[str]) -> bool:
    home = package if package in {"vespa", "benchmarks"} or package.count(".") == 1 else package.rpartition(".")[0]
    if home != "vespa" and within(imported, home):
        return True
    # "vespa" in a row means the package itself, its version, and no package in it.
    return any(imported in {"vespa", "vespa.__version__"} if a == "vespa" else within(imported, a) for a in allowed)


def forbidden_imports(name: str, tree: ast.Module, is_package: bool = False) -> list[str]:
    package, allowed = row(name)
    found = []
    for imported in imports(name, tree, is_package):
        if imported.split(".")[0] in {"vespa", "benchmarks", "tests"} and not is_allowed(imported, package, allowed):
            found.append(f"{name} imports {imported}")
        is_value = any(within(name, package) for package in VALUES)
        if is_value and imported.split(".")[0] in VALUES_ARE_WITHOUT:
            found.append(f"{name} imports {imported}")
    return found


def ambient(name: str, tree: ast.Module) -> list[str]:
    """The names in a module that read clock, environment, chance or reactor outside of the places for it."""
    used = set(imports(name, tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
    found = []
    for use in sorted(used):
        for forbidden, places in PLACES.items():
            if (use == forbidden or use.endswith("." + forbidden)) and not any(
                within(name, package) for package in places
            ):
                found.append(f"{name} uses {use}")
        is_random = use.startswith("random.") and use.split(".")[1].split("(")[0] not in RANDOM_WITH_A_SEED
        if is_random and not any(within(name, package) for package in RANDOM_PLACES):
            found.append(f"{name} uses {use}")
    return found


class LayerTests(SynchronousTestCase):
    def test_imports_point_down(self) -> None:
        """No module imports what stands above it or beside it; worker and client do not know each other."""
        found = [
            found_import
            for package in ("vespa", "benchmarks")
            for name, tree, is_package in modules(package)
            for found_import in forbidden_imports(name, tree, is_package)
        ]
        self.assertEqual(found, [])

    def test_no_circles(self) -> None:
        """No module imports one that imports it, directly or through others, be it for its annotations alone."""
        self.assertEqual(circles(import_graph(modules("vespa"))), [])

    def test_modules_are_short(self) -> None:
        """A module has 250 lines at most; one that is longer already does not grow."""
        self.assertEqual(too_long(lengths("vespa"), LONG_MODULES), [])

    def test_ambient_state_is_read_in_its_places(self) -> None:
        """Clock, environment, chance and the global reactor are handed down from the entry points."""
        found = [
            use
            for package in ("vespa", "benchmarks")
            for name, tree, _ in modules(package)
            for use in ambient(name, tree)
        ]
        self.assertEqual(found, [])

    def test_no_package_in_the_way_of_twisted(self) -> None:
        """The plugin's folders extend Twisted's own: an __init__.py in them would hide it."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class CheckTests(SynchronousTestCase):
    """The checks of the layers find what they look for."""

    def test_forbidden_imports(self) -> None:
        """Upward, sideways, relative and hidden imports are found."""
        for name, source in (
            ("vespa.accounting.fair_queue", "import twisted.internet.defer"),
            ("vespa.accounting.fair_queue", "from vespa.runtime import logging"),
            ("vespa.accounting.fair_queue", "from ..runtime.logging import LineObserver"),
            ("vespa.accounting.fair_queue", "def f():\n    import vespa.config.worker_reading"),
            ("vespa.accounting.replay_guard", "from vespa.vast.auth import Auth"),
            ("vespa.protocol.message_head", "from vespa.accounting.workload import to_micros"),
            ("vespa.protocol.message_head", "from twisted.web import http"),
            ("vespa.vast.signature", "import time"),
            ("vespa.vast.signature", "from vespa.http.agent import Agent"),
            ("vespa.runtime.services", "from vespa.http.agent import Agent"),
            ("vespa.transport.sockets", "from vespa.http.agent import Agent"),
            ("vespa.transport.sockets", "from vespa.runtime import deadlines"),
            ("vespa.http.agent", "from vespa.accounting.ledger import Ledger"),
            ("vespa.http.agent", "from vespa.accounting import ledger"),
            ("vespa.worker.route", "from vespa.client.route import Route"),
            ("vespa.worker.route", "from vespa.config.worker_reading import Settings"),
            ("vespa.worker.route", "from ..config import worker"),
            ("vespa.proxy.exchange", "import vespa.worker.route"),
            ("vespa.proxy.exchange", "from vespa.vast.envelope import Envelope"),
            ("vespa.config.worker", "from vespa.runtime import logging"),
            ("benchmarks.tgi", "from vespa.accounting.workload import to_micros"),
        ):
            self.assertEqual(len(forbidden_imports(name, ast.parse(source))), 1, f"{name}: {source}")

    def test_allowed_imports(self) -> None:
        """Imports of one's own package and of the layers below pass."""
        for name, source in (
            ("vespa.accounting.fair_queue", "from .workload import to_micros\nimport collections"),
            ("vespa.vast.status_report", "from vespa.accounting.ledger import Ledger"),
            ("vespa.http.agent", "from vespa.transport.sockets import writer\nfrom ..protocol import heads"),
            ("vespa.http.agent", "from vespa.protocol.fields import KINDS\nfrom .connection_pool import Pool"),
            ("vespa.worker.route", "from vespa.proxy.interfaces import Route\nfrom ..accounting import ledger"),
            (
                "vespa.worker.service",
                "from vespa.config.worker import Settings\nfrom .route import WorkerRoute",
            ),
            ("benchmarks.tgi", "from vespa.benchmarking.contract import Session\nfrom benchmarks import words"),
        ):
            self.assertEqual(forbidden_imports(name, ast.parse(source)), [])

    def test_circles(self) -> None:
        """A circle is found wherever its imports stand; a module that is imported twice makes none."""

        def found(**sources: str) -> list[list[str]]:
            trees = [(name.replace("_in_", "."), ast.parse(source), name == "p") for name, source in sources.items()]
            return circles(import_graph(trees))

        annotations = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A"
        for source in ("import p.a", "from p import a", "from .a import A", annotations, "def f():\n    import p.a"):
            self.assertEqual(found(p="", p_in_a="from p.b import B", p_in_b=source), [["p.a", "p.b"]], source)
        self.assertEqual(
            found(p="", p_in_a="import p.b", p_in_b="import p.c", p_in_c="import p.a", p_in_d="import p.a"),
            [["p.a", "p.b", "p.c"]],
        )
        self.assertEqual(found(p="from .a import A", p_in_a="from p import version"), [["p", "p.a"]])
        self.assertEqual(found(p="", p_in_a="import p.c, os", p_in_b="import p.a, p.c", p_in_c="import p.d"), [])

    def test_lengths(self) -> None:
        """A module that is new and long, or listed and longer, is found, and so is an entry without a reason."""
        self.assertEqual(len(too_long({"vespa.a": MOST_LINES + 1}, {})), 1)
        self.assertEqual(len(too_long({"vespa.a": 301}, {"vespa.a": 300})), 1)
        self.assertEqual(len(too_long({"vespa.a": MOST_LINES}, {"vespa.a": 300})), 1)
        self.assertEqual(len(too_long({}, {"vespa.a": 300})), 1)
        self.assertEqual(too_long({"vespa.a": 299, "vespa.b": MOST_LINES}, {"vespa.a": 300}), [])

    def test_ambient_names(self) -> None:
        """However it is written, a name that reads such state is found outside of its places, and only there."""
        for source in (
            "import time\ntime.time()",
            "from time import time",
            "import os\nos.environ['A']",
            "from os import environ",
            "import datetime\ndatetime.datetime.now()",
            "from datetime import datetime\ndatetime.now()",
            "import random\nrandom.random()",
            "from random import uniform",
            "from twisted.internet import reactor",
        ):
            self.assertEqual(len(ambient("vespa.runtime.http_client", ast.parse(source))), 1, source)
        self.assertEqual(
            ambient("vespa.runtime.http_client", ast.parse("import random\nrandom.Random(1).random()")), []
        )
        self.assertEqual(
            ambient("vespa.tap", ast.parse("import os\nos.environ\nfrom twisted.internet import reactor")), []
        )
