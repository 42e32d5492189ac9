"""The written benchmark: it is a module, sends the requests of the file, and measures as Vast's own worker does."""

from __future__ import annotations

import asyncio
import json
import runpy
from pathlib import Path
from typing import Any

from aiohttp import web
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarking.serving import Backend, answer
from tests.migrating.found import benchmark, handler
from vespa.migrating.benchmark_module import module
from vespa.migrating.messages import Handler


class ModuleCase(SynchronousTestCase):
    def load(self, described: Handler, *hidden: str) -> dict[str, Any]:
        """The module's names."""
        assert described.benchmark is not None
        source = module(described, described.benchmark, hidden)
        self.assertTrue(source.isascii())
        path = Path(self.mktemp() + ".py")
        path.write_text(source)
        return runpy.run_path(str(path))


class SourceTests(ModuleCase):
    def test_requests(self) -> None:
        """The requests come one after the other and again, each with its work as the cost."""
        own = self.load(handler("/a", benchmark=benchmark(('{"a": 1}', 5.0), ('{"a": "é\\u2028"}', 7.5))))
        requests = [own["get_test_request"]() for _ in range(3)]
        self.assertEqual(requests, [("/a", {"a": 1}, 5.0), ("/a", {"a": "é\u2028"}, 7.5), ("/a", {"a": 1}, 5.0)])

    def test_wild(self) -> None:
        """Nothing of a route or a request ends the literal or the docstring that it stands in."""
        wild = ('"""', "'''", "\\", "\\'", "{}", "{route}", "\n", "\u2028", "%s", '" + open("x") + "')
        for text in wild:
            own = self.load(handler(f"/{text}", benchmark=benchmark((json.dumps({"a": text, text: ""}), 1.0))))
            self.assertEqual(own["get_test_request"](), (f"/{text}", {"a": text, text: ""}, 1.0))

    def test_secrets(self) -> None:
        """A secret's name in a request stands for its value in the benchmark's environment; others are left alone."""
        described = handler("/a", benchmark=benchmark(('{"key": "<K_TOKEN>", "b": "<OTHER>"}', 1.0)))
        own = self.load(described, "K_TOKEN", "UNUSED_TOKEN")
        self.assertEqual(own["SECRETS"], ("K_TOKEN",))
        self.patch(own["os"], "environ", {"K_TOKEN": 'a"b'})
        self.assertEqual(own["get_test_request"]()[1], {"key": 'a"b', "b": "<OTHER>"})

    def test_one_at_a_time(self) -> None:
        """A handler that takes one request at a time is measured so, and without a warm-up if it has none."""
        serial = handler("/a", parallel=False, benchmark=benchmark(("{}", 1.0), warmup=False))
        self.assertEqual(self.load(serial)["CONCURRENCY"], 1)
        self.assertNotIn("await send(session)  #", module(serial, benchmark(("{}", 1.0), warmup=False), ()))


class MeasureTests(ModuleCase):
    def test_rounds(self) -> None:
        """It warms up, then sends rounds of so many requests at once; the figure is in the file's unit of work."""
        own = self.load(handler("/a", benchmark=benchmark(('{"n": 1}', 100.0))))
        backend = Backend()
        most = [0, 0]

        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            self.assertEqual(await request.json(), {"n": 1})
            most[0] += 1
            most[1] = max(most)
            await asyncio.sleep(0.05)
            most[0] -= 1
            return web.json_response({})

        backend.handlers["/a"] = serve
        figure = backend.run(lambda session: own["benchmark"](backend.url, session))
        self.assertEqual((len(backend.requests), most[1]), (1 + 2 * 4, 4))
        self.assertTrue(50 < figure <= 4 * 100 / 0.05, figure)

    def test_failure(self) -> None:
        """A backend that refuses every request fails the benchmark, with its status and words."""
        own = self.load(handler("/a", benchmark=benchmark(("{}", 1.0))))
        backend = Backend()
        backend.handlers["/a"] = answer(b"no such model", 404)
        error = self.assertRaises(RuntimeError, backend.run, lambda session: own["benchmark"](backend.url, session))
        self.assertIn("/a answered 404: b'no such model'", str(error))
