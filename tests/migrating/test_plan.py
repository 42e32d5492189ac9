"""Which settings a description becomes; each set of them is accepted by the worker's own reader."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.migrating.found import benchmark, found, handler
from vespa.config import worker_reading
from vespa.migrating.messages import Description, Patterns
from vespa.migrating.plan import KNOWN, NO_LIMIT_SECONDS, Plan, make_plan, server_kind

ON_VAST = {"CONTAINER_ID": "7", "MASTER_TOKEN": "token", "PUBLIC_IPADDR": "1.2.3.4", "VAST_TCP_PORT_3000": "40000"}
REQUEST = ('{"max_tokens": 500}', 500.0)


class PlanCase(SynchronousTestCase):
    def plan(self, described: Description, written: str = "/b.py:benchmark") -> Plan:
        """The plan. If nothing is missing, a worker starts with it."""
        plan = make_plan(described, written)
        reading = worker_reading.read({**ON_VAST, **plan.environment})
        if not plan.missing:
            self.assertIsNone(reading.error)
        self.assertEqual(reading.warnings, ())
        return plan

    def one(self, described: Description, name: str) -> str | None:
        """The value of one setting, without the VESPA_ of its name."""
        return self.plan(described).environment.get(f"VESPA_{name}")

    def remarks(self, plan: Plan) -> str:
        return "\n".join(f"{each.about}: {each.text}" for each in (*plan.missing, *plan.remarks))


class WholeTests(PlanCase):
    def test_vllm(self) -> None:
        """All of a common worker."""
        plan = self.plan(found(handler(calculator="tokens", benchmark=benchmark(REQUEST)), handler("/v1/embeddings")))
        self.assertEqual(
            plan.environment,
            {
                "VESPA_BACKEND_URL": "http://127.0.0.1:18000",
                "VESPA_HEALTHCHECK_ENDPOINT": "/health",
                "VESPA_ALLOW_PARALLEL": "true",
                "VESPA_MAX_WAIT_TIME": "600",
                "VESPA_BENCHMARK": "/b.py:benchmark",
            },
        )
        self.assertEqual((plan.missing, plan.remarks), ([], []))

    def test_kinds(self) -> None:
        """The server is known by its routes, and TGI by its log too."""
        for kind, routes in {
            "openai": ("/a", "/v1/completions"),
            "comfyui wrapper": ("/generate/sync",),
            "tgi": ("/generate", "/generate_stream"),
            "comfyui": ("/prompt",),
            "": ("/generate",),
        }.items():
            self.assertEqual(server_kind(found(*map(handler, routes))), kind)
        patterns = Patterns(['"target":"text_generation_router"'])
        self.assertEqual(server_kind(found(handler("/generate"), patterns=patterns)), "tgi")


class BackendTests(PlanCase):
    def test_forms(self) -> None:
        """What the file writes in other forms; what no URL can be is missing, and shows no password."""
        for given, url in {
            "127.0.0.1:5001": "http://127.0.0.1:5001",
            "http://0.0.0.0:5001": "http://0.0.0.0:5001",
            "http://127.0.0.1/:18000": "http://127.0.0.1:18000",
            "https://host/prefix": "https://host/prefix",
            "http://[::1]:80": "http://[::1]:80",
        }.items():
            self.assertEqual(self.one(found(handler(), backend_url=given), "BACKEND_URL"), url, given)
        for given in (
            "",
            "http://h:None",
            "http://me:hunter2@h:1",
            "http://h:1:2",
            "ftp://h:1",
            "http://a b:1",
        ):
            plan = self.plan(found(handler(), backend_url=given))
            self.assertNotIn("VESPA_BACKEND_URL", plan.environment, given)
            self.assertIn("VESPA_BACKEND_URL", plan.missing[0].text, given)
            self.assertNotIn("hunter2", self.remarks(plan))

    def test_functions_only(self) -> None:
        """A worker without a server has no backend for Vespa."""
        plan = self.plan(found(handler(remote=True)))
        self.assertIn("calls no functions", plan.missing[0].text)
        plan = self.plan(found(handler(remote=True), handler(benchmark=benchmark(REQUEST))))
        self.assertEqual(plan.missing, [])


class HealthTests(PlanCase):
    def test_paths(self) -> None:
        """A path, one without its slash, and URLs of the backend by any local name."""
        for given, path in {
            "/health": "/health",
            "health": "/health",
            "http://127.0.0.1:18000/ready?full=1": "/ready?full=1",
            "http://0.0.0.0:18000": "/",
            "http://localhost:18000/h": "/h",
        }.items():
            self.assertEqual(self.one(found(handler(), healthcheck_url=given), "HEALTHCHECK_ENDPOINT"), path, given)

    def test_elsewhere(self) -> None:
        """A URL of another server cannot be probed: the usual path of such a backend, or none, and a remark."""
        for given in ("http://127.0.0.1:9000/health", "http://other:18000/health", "http://[bad/health"):
            for route, path in (("/v1/completions", "/health"), ("/ocr", "off")):
                plan = self.plan(found(handler(route), healthcheck_url=given))
                self.assertEqual(plan.environment["VESPA_HEALTHCHECK_ENDPOINT"], path, given)
                self.assertIn("a guess", self.remarks(plan))

    def test_none(self) -> None:
        """Without one: a handler's, or what such servers have, or none at all, with a remark."""
        self.assertEqual(
            self.one(found(handler("/prompt"), healthcheck_url=""), "HEALTHCHECK_ENDPOINT"), "/system_stats"
        )
        own = handler("/ocr", healthcheck="/up")
        self.assertEqual(self.one(found(own, healthcheck_url=""), "HEALTHCHECK_ENDPOINT"), "/up")
        plan = self.plan(found(handler("/ocr"), healthcheck_url=""))
        self.assertEqual(plan.environment["VESPA_HEALTHCHECK_ENDPOINT"], "off")
        self.assertIn("repeats the benchmark", self.remarks(plan))


class AdmissionTests(PlanCase):
    def test_parallel(self) -> None:
        """One handler that takes one request at a time decides; no handlers are the official default one."""
        serial = handler("/b", parallel=False)
        self.assertEqual(self.one(found(handler()), "ALLOW_PARALLEL"), "true")
        self.assertEqual(self.one(found(serial), "ALLOW_PARALLEL"), "false")
        self.assertEqual(self.one(found(), "ALLOW_PARALLEL"), "false")
        plan = self.plan(found(handler("/a"), serial))
        self.assertEqual(plan.environment["VESPA_ALLOW_PARALLEL"], "false")
        self.assertIn("on for /a and off for /b", self.remarks(plan))

    def test_wait(self) -> None:
        """The longest limit; None is none; less than 0 is 0; the queue lasts as long as the wait may."""
        for given, text in ((30.0, "30"), (0.5, "0.5"), (0, "0"), (-1, "0"), (None, str(NO_LIMIT_SECONDS))):
            self.assertEqual(self.one(found(handler(max_queue_time=given)), "MAX_WAIT_TIME"), text)
        self.assertEqual(self.one(found(), "MAX_WAIT_TIME"), "30")
        plan = self.plan(found(handler(max_queue_time=10.0), handler("/b", max_queue_time=20.0)))
        self.assertEqual(plan.environment["VESPA_MAX_WAIT_TIME"], "20")
        self.assertIn("differs between the routes", self.remarks(plan))
        self.assertIn("max_queue_time", self.plan(found(handler(max_queue_time="10s"))).missing[0].about)
        serial = handler(max_queue_time=600.0, parallel=False)
        self.assertEqual(self.one(found(serial), "QUEUE_TIMEOUT"), "600")
        self.assertIsNone(self.one(found(handler(max_queue_time=600.0)), "QUEUE_TIMEOUT"))


class SessionTests(PlanCase):
    def test_limits(self) -> None:
        """The official default needs no setting; no limit becomes a high one; less than 0 lets no session in."""
        if "VESPA_MAX_SESSIONS" not in KNOWN:
            raise SkipTest("this Vespa has no sessions")
        for given, text in ((10, None), (5, "5"), (None, "10000"), (0, "10000"), (-1, "0")):
            self.assertEqual(self.one(found(handler(), max_sessions=given), "MAX_SESSIONS"), text)
        self.assertIn("max_sessions", self.plan(found(handler(), max_sessions="ten")).missing[0].about)


class BenchmarkTests(PlanCase):
    def test_written(self) -> None:
        """A benchmark that was written is set, whatever the server is."""
        own = handler("/ocr", benchmark=benchmark(REQUEST))
        self.assertEqual(self.one(found(own), "BENCHMARK"), "/b.py:benchmark")

    def test_built_in(self) -> None:
        """Without one that was written: a built-in one for servers that have one, if its unit of work fits."""
        tokens = handler(calculator="tokens", benchmark=benchmark(REQUEST))
        plan = self.plan(found(tokens), "")
        self.assertEqual(plan.environment["VESPA_BENCHMARK"], "benchmarks.openai_chat:benchmark")
        self.assertIn("--benchmark FILE.py", self.remarks(plan))
        hundred = handler("/generate/sync", parallel=False, benchmark=benchmark(("{}", 100.0)))
        self.assertEqual(self.plan(found(hundred), "").environment["VESPA_BENCHMARK"], "benchmarks.comfyui:benchmark")
        for other in (handler(benchmark=benchmark(REQUEST)), handler("/ocr", benchmark=benchmark(REQUEST))):
            plan = self.plan(found(other), "")
            self.assertNotIn("VESPA_BENCHMARK", plan.environment)
            self.assertIn("--benchmark FILE.py", plan.missing[0].text)

    def test_none(self) -> None:
        """No benchmark, one without requests, and two."""
        self.assertIn("has no benchmark", self.plan(found(handler("/ocr")), "").missing[0].text)
        failed = handler("/ocr", benchmark=benchmark(error="it raised ValueError: no model"))
        self.assertIn("it raised ValueError: no model", self.plan(found(failed)).missing[0].text)
        two = [handler(route, benchmark=benchmark(REQUEST)) for route in ("/a", "/b")]
        self.assertIn("More than one", self.remarks(self.plan(found(*two))))
