"""The tests mirror `vespa/`: the test of a module is where one looks for it, or a table says where."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

SHORT = 40
"""Lines up to which a module needs no file of tests of its own: those of its users test it."""

ELSEWHERE: dict[str, str] = {
    # No logic: protocols and values.
    "vespa.config.worker_surroundings": "tests.config.test_worker_reading",
    "vespa.config.worker_variables": "tests.config.test_worker_reading",
    "vespa.engines.interface": "tests.engines.test_user_functions",
    "vespa.accounting.records": "tests.accounting.test_ledger",
    "vespa.client.interfaces": "tests.client.test_worker_selection",
    "vespa.migrating.official_classes": "tests.migrating.test_stand_in",
    "vespa.http.interfaces": "tests.http.test_agent",
    "vespa.http.limits": "tests.http.test_server_connection",
    "vespa.loadtest.outcome": "tests.loadtest.test_driver",
    "vespa.proxy.interfaces": "tests.proxy.test_exchange",
    "vespa.worker.interfaces": "tests.worker.test_admission",
    # Half of a pair whose laws hold for both.
    "vespa.client.autoscaler_client": "tests.client.test_worker_search",
    "vespa.client.one_value": "tests.client.test_envelope_writer",
    "vespa.client.caller_fields": "tests.client.test_envelope_writer",
    "vespa.client.reactor_thread": "tests.client.test_embedded",
    "vespa.client.pinned_selection": "tests.client.sessions.test_sessions",
    "vespa.client.sessions.ending": "tests.client.sessions.test_sessions",
    "vespa.client.sessions.creation": "tests.client.sessions.test_sessions",
    "vespa.client.sessions.opening": "tests.client.sessions.test_sessions",
    "vespa.client.sessions.search": "tests.client.sessions.test_sessions",
    "vespa.client.sessions.table": "tests.client.sessions.test_sessions",
    "vespa.client.request_headers": "tests.client.test_envelope_writer",
    "vespa.http.agent_request": "tests.http.test_agent",
    "vespa.http.request_reading": "tests.http.test_server_connection",
    "vespa.loadtest.events": "tests.loadtest.test_reading",
    "vespa.loadtest.load_request": "tests.loadtest.test_driver",
    "vespa.protocol.message_head": "tests.protocol.test_request_head",
    "vespa.proxy.upstream_deadlines": "tests.proxy.test_request_sender",
    "vespa.runtime.local_addresses": "tests.client.test_worker_pools",
    "vespa.vast.envelope_prefix": "tests.vast.test_envelope_stream",
    # What is composed of other modules, and shows in whole requests.
    "vespa.proxy.proxied_request": "tests.proxy.test_exchange",
    "vespa.observability.observers": "tests.system.test_admin_port",
    "vespa.transport.errors": "tests.http.test_connection_pool",
    "vespa.http.client_connection": "tests.contract.test_responses",
    "vespa.http.resource": "tests.worker.test_admin_routes",
    "vespa.http.upstream_transport": "tests.http.test_connection_pool",
    "vespa.observability.responses": "tests.observability.test_routes",
    "vespa.proxy.app": "tests.proxy.test_exchange",
    "vespa.proxy.listener": "tests.system.test_listening",
    "vespa.proxy.protocol_switch": "tests.proxy.test_upgrade",
    "vespa.proxy.request_body": "tests.proxy.test_exchange",
    "vespa.simulator.completions": "tests.simulator.test_backend",
    "vespa.simulator.responses": "tests.simulator.test_backend",
    "vespa.simulator.scenarios": "tests.e2e.test_demo",
    "vespa.worker.backends.metrics": "tests.worker.backends.test_status",
    "vespa.worker.backends.one_upstream": "tests.worker.test_app",
    "vespa.worker.readiness.setup": "tests.system.test_readiness",
    "vespa.worker.sessions.admission": "tests.worker.sessions.test_routes",
    "vespa.worker.sessions.bodies": "tests.worker.sessions.test_routes",
    "vespa.worker.sessions.metrics": "tests.worker.test_metrics",
    "vespa.worker.sessions.setup": "tests.worker.sessions.test_port",
    # What starts processes, or is the whole of a command.
    "vespa.client.command.launch": "tests.client.command.test_start",
    "vespa.client.command.run": "tests.client.command.test_start",
    # One suite over several transports, ours and Twisted's.
    "vespa.transport.accept": "tests.transport.test_listen",
    "vespa.transport.openssl": "tests.transport.test_tls_server",
    "vespa.transport.own_reactor": "tests.transport.test_choice",
    "vespa.transport.platform": "tests.system.test_platforms",
    "vespa.transport.socket_transport": "tests.transport.test_sockets",
    "vespa.transport.stock": "tests.transport.test_sockets",
    "vespa.transport.tls_readiness": "tests.transport.test_tls_server",
    "vespa.transport.tls_resolve": "tests.transport.test_tls_stock",
    "vespa.transport.tls_transport": "tests.transport.test_tls_server",
}
"""Where the tests of a module are that has no file of tests of its own."""


def modules(root: Path) -> dict[str, int]:
    """The modules of the product, and how many lines each has."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): len(path.read_text("utf-8").splitlines())
        for path in sorted((root / "vespa").rglob("*.py"))
        if path.name != "__init__.py"
    }


def own_tests(module: str) -> Path:
    """The file in which the tests of a module belong, below the root."""
    _, *packages, name = module.split(".")
    return Path("tests", *packages, f"test_{name}.py")


def without_tests(lines: dict[str, int], files: Iterable[Path], elsewhere: dict[str, str]) -> list[str]:
    """The modules whose tests nobody would find, and the rows of the table that say nothing."""
    there = set(files)
    found = [
        f"{module} has no {own_tests(module).as_posix()}"
        for module, count in lines.items()
        if count > SHORT and own_tests(module) not in there and module not in elsewhere
    ]
    return found + [
        f"{module} need not be listed" for module in elsewhere if module not in lines or own_tests(module) in there
    ]


class MirrorTests(SynchronousTestCase):
    def test_every_module(self) -> None:
        """Every module of more than forty lines has a file of tests of its name, or a row in the table."""
        files = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
        self.assertEqual(without_tests(modules(ROOT), files, ELSEWHERE), [])

    def test_table(self) -> None:
        """What the table names is there."""
        for name in ELSEWHERE.values():
            importlib.import_module(name)


class CheckTests(SynchronousTestCase):
    def test_found(self) -> None:
        """A module without tests is found, and so is a row for one that has some, is short, or is gone."""
        there = [Path("tests/http/test_agent.py")]
        self.assertEqual(without_tests({"vespa.http.agent": 90}, there, {}), [])
        self.assertEqual(without_tests({"vespa.http.agent": 90}, [], {}), ["vespa.http.agent has no " + str(there[0])])
        self.assertEqual(without_tests({"vespa.http.agent": 40}, [], {}), [])
        self.assertEqual(without_tests({"vespa.http.agent": 90}, [], {"vespa.http.agent": "tests.x"}), [])
        self.assertEqual(len(without_tests({"vespa.http.agent": 90}, there, {"vespa.http.agent": "tests.x"})), 1)
        self.assertEqual(len(without_tests({}, [], {"vespa.http.agent": "tests.x"})), 1)

    def test_at_the_top(self) -> None:
        """The tests of a module of the package itself are at the top of the tests."""
        self.assertEqual(own_tests("vespa.tap"), Path("tests/test_tap.py"))
