"""The real package `vastai`, where it is installed: it tells what the stand-in tells."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.e2e.clients import e2e_python, missing
from tests.migrating.files import SHAPES, SHORT, run, write, write_shape
from vespa.migrating.messages import End

DEFAULTS = """
Worker(WorkerConfig(model_server_url="http://h", model_server_port=1, handlers=[
    HandlerConfig(route="/a", benchmark_config=BenchmarkConfig(dataset=[{"a": 1}])), HandlerConfig("/b"),
])).run()
"""
CLASSES = """
from vastai.serverless.server.lib.data_types import ApiPayload, EndpointHandler, JsonDataException


class Payload(ApiPayload):
    @classmethod
    def for_test(cls):
        return cls()

    @classmethod
    def from_json_msg(cls, message):
        raise JsonDataException({"a": "missing"})

    def generate_payload_json(self):
        return {"text": "hello"}

    def count_workload(self):
        return 7.0


class Handler(EndpointHandler[Payload]):
    endpoint = "/inner"
    healthcheck_endpoint = None

    @classmethod
    def payload_cls(cls):
        return Payload

    def make_benchmark_payload(self):
        return Payload.for_test()

    async def generate_client_response(self, client_request, model_response):
        return None

    async def call_remote_dispatch_function(self, params):
        return None


Worker(WorkerConfig(model_server_url="http://h", model_server_port=1, max_sessions=None, handlers=[
    HandlerConfig(route="/class", handler_class=Handler),
    HandlerConfig(route="/payload", payload_class=Payload, benchmark_config=BenchmarkConfig(runs=2)),
])).run()
"""


class OfficialTests(SynchronousTestCase):
    slow = True

    def setUp(self) -> None:
        self.python = e2e_python()
        if missing("vastai", self.python):
            raise SkipTest(f"missing: {self.python} -m pip install vastai")

    def both(self, path: str) -> tuple[Any, Any]:
        """The answers with the real package and with the stand-in, by the same Python."""
        real, stand_in = (run(path, python=self.python, stand_in=each, seconds=60.0).answer for each in (False, True))
        return real, stand_in

    def test_shapes(self) -> None:
        """Of each shape the package tells the same as the stand-in: fields, defaults, requests and their work."""
        for name in SHAPES:
            real, stand_in = self.both(write_shape(self, name))
            self.assertEqual(real.end, End("served"), name)
            self.assertRegex(real.package, r"^\d+\.\d+", name)
            self.assertEqual((stand_in.package, real.package_error), ("", ""), name)
            self.assertEqual(real.found, stand_in.found, name)

    def test_defaults_and_classes(self) -> None:
        """The defaults of every field, and handlers and payloads that are classes."""
        handlers = []
        quiet = CLASSES.replace("handler_class=Handler", "handler_class=lambda: Handler(has_benchmark=False)")
        for source in (DEFAULTS, CLASSES, quiet):
            real, stand_in = self.both(write(self, SHORT + source))
            self.assertEqual(real.end, End("served"), real)
            self.assertEqual(real.found, stand_in.found)
            handlers.append(real.found.handlers)
        one, two = handlers[1][0], handlers[2][1]
        self.assertIsNone(handlers[2][0].benchmark)
        self.assertEqual((one.route, one.path, one.max_queue_time), ("/class", "/inner", None))
        self.assertEqual(one.benchmark.requests, [('{"text": "hello"}', 7.0)])
        self.assertEqual((two.payload_class, two.benchmark.source), ("Payload", "payload class"))

    def test_unknown_field(self) -> None:
        """The package refuses fields that it does not have; this is the file's error."""
        end = run(
            write(self, f"{SHORT}WorkerConfig(readiness='logs')\n"), python=self.python, stand_in=False, seconds=60.0
        ).answer.end
        self.assertEqual((end.how, end.type), ("raised", "TypeError"))
        self.assertIn("readiness", end.message)


PACKAGE = {
    "__init__.py": "from .serverless.server.worker import *",
    "serverless/__init__.py": "",
    "serverless/server/__init__.py": "",
    "serverless/server/lib/__init__.py": "",
    "serverless/server/lib/server.py": """
        def start_server(backend, routes, **options):
            raise SystemExit("a server")
        """,
    "serverless/server/lib/backend.py": """
        class Backend:
            def __init__(self, **fields):
                vars(self).update(fields)

            def create_handler(self, handler):
                async def handle(request):
                    return handler
                return handle
        """,
    "serverless/server/worker.py": """
        import dataclasses
        from . import lib

        @dataclasses.dataclass
        class WorkerConfig:
            model_server_url: str = None
            handlers: list = dataclasses.field(default_factory=list)

        class Worker:
            def __init__(self, config):
                raise SystemExit("a backend")

            def run(self, **options):
                raise SystemExit("a server")
        """,
}
"""A package with the names that are patched, and next to nothing else."""


class PatchTests(SynchronousTestCase):
    """What of the package is patched, with a package that ends the process where it is not."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        for name, source in PACKAGE.items():
            path = self.folder / "vastai" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))

    def answer(self, source: str) -> Any:
        path = write(self, f"from vastai import Worker, WorkerConfig\n{source}")
        return run(path, stand_in=False, environ={"PYTHONPATH": str(self.folder)}).answer

    def test_worker(self) -> None:
        """The worker is not made, and neither way of running it serves."""
        for call in ("worker.run(host='h')", "import asyncio; asyncio.run(worker.run_async(host='h'))"):
            answer = self.answer(f"worker = Worker(WorkerConfig('http://h:1'))\n{call}\n")
            self.assertEqual((answer.end, answer.options), (End("served"), {"host": "'h'"}))
            self.assertTrue(answer.package)
            self.assertEqual((answer.found.backend_url, answer.workers), ("http://h:1", 1))
        self.assertEqual(self.answer("WorkerConfig('http://h:2')\n").found.backend_url, "http://h:2")

    def test_backend(self) -> None:
        """A file that makes a Backend and serves it itself."""
        for start in ("start_server(backend, routes)", "asyncio.run(start_server_async(backend, routes))"):
            answer = self.answer(BACKEND + start + "\n")
            self.assertEqual(answer.end, End("served"), start)
            self.assertEqual([each.route for each in answer.found.handlers], ["/outer"], start)
            self.assertEqual(answer.found.handlers[0].path, "/inner")
            self.assertEqual(answer.found.handlers[0].benchmark.requests, [('{"a": 1}', 3.0)])


BACKEND = """
import asyncio
from types import SimpleNamespace
from vastai.serverless.server.lib.backend import Backend
from vastai.serverless.server.lib import server


class Payload:
    def generate_payload_json(self):
        return {"a": 1}

    def count_workload(self):
        return 3


class Handler:
    endpoint = "/inner"
    payload_cls = staticmethod(lambda: Payload)
    make_benchmark_payload = staticmethod(Payload)


start_server, start_server_async = server.start_server, server.start_server_async
backend = Backend(model_server_url="http://h:1", benchmark_handler=Handler(), log_actions=[])
routes = [SimpleNamespace(path="/outer", handler=backend.create_handler(Handler()))]
"""


class BrokenTests(SynchronousTestCase):
    def test_broken_package(self) -> None:
        """A package that cannot be imported is replaced by the stand-in, and the answer says why."""
        path = write(self, f"{SHORT}Worker(WorkerConfig(model_server_url='http://h')).run()\n")
        for source in ("1 / 0\n", "import no_such_module_at_all\n"):
            folder = write(self, source, "vastai/__init__.py").removesuffix("/vastai/__init__.py")
            answer = run(path, stand_in=False, environ={"PYTHONPATH": folder}).answer
            self.assertEqual((answer.end, answer.package), (End("served"), ""))
            self.assertRegex(answer.package_error, "ZeroDivisionError|no_such_module_at_all")
