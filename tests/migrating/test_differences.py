"""What has no setting is said, with what to do; what does not apply is not."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.migrating.found import answer, benchmark, found, handler
from vespa.migrating.differences import MORE, add_remarks
from vespa.migrating.messages import Description, Patterns
from vespa.migrating.plan import KNOWN, make_plan


class DifferencesTests(SynchronousTestCase):
    def remarks(self, described: Description, *hidden: str, **changes: Any) -> dict[str, str]:
        """The texts by what they are about."""
        plan = make_plan(described)
        plan.remarks.clear()
        add_remarks(plan, described, answer(described, **changes), hidden)
        return {each.about: each.text for each in plan.remarks}

    def test_plain(self) -> None:
        """Of a worker without anything special: its routes, and that each request counts 100."""
        said = self.remarks(found(handler("/a"), handler("/b")))
        self.assertEqual(list(said), ["handlers", "workload_calculator of /a, /b"])
        self.assertIn("POST to /a, /b and 404", said["handlers"])
        self.assertIn("callers have to give 100", said["workload_calculator of /a, /b"])

    def test_functions(self) -> None:
        """Each function and class of a route."""
        said = self.remarks(
            found(
                handler("/a", calculator="tokens", parser="unwrap", parser_does="input", generator="shape",
                        benchmark=benchmark(("{}", 512.0))),
                handler("/b", payload_class="Audio", parser="check", parser_does="nothing"),
                handler("/c", handler_class="Own", path="/inner", parser="other"),
                handler("/d", remote=True),
            )
        )  # fmt: skip
        self.assertIn("it is 512", said["workload_calculator of /a, /b"])
        self.assertIn("inner object", said["request_parser of /a"])
        self.assertIn("nothing to do", said["request_parser of /b"])
        self.assertIn("what it returns", said["request_parser of /c"])
        self.assertIn("as it is", said["response_generator of /a"])
        self.assertIn("what the backend takes", said["payload_class of /b"])
        self.assertIn("no code of the class", said["handler_class of /c"])
        self.assertIn("callers have to use /inner", said["endpoint of /c"])
        self.assertIn("HTTP server", said["remote_function of /d"])

    def test_many_routes(self) -> None:
        """A long list of routes is cut."""
        said = self.remarks(found(*[handler(f"/{number}") for number in range(20)]))
        self.assertIn("workload_calculator of /0, /1, /2, /3, /4 and 15 more", said)

    def test_logs(self) -> None:
        """Patterns: readiness comes from the health path that is set, or from the benchmark."""
        patterns = Patterns(["ready"], ["Traceback"], ["Download"])
        said = self.remarks(found(handler(), patterns=patterns, log_file="/var/log/x.log", lifecycle=True))
        self.assertIn("/health answers 2xx", said["model_log_file, on_load, on_error"])
        self.assertIn("on_info", said)
        self.assertIn("lifecycle", said)
        said = self.remarks(found(handler("/ocr"), patterns=patterns, healthcheck_url=""))
        self.assertIn("the benchmark succeeds", said["model_log_file, on_load, on_error"])

    def test_the_rest(self) -> None:
        """Options of run, unknown fields, several workers, what was left out, and hidden variables by name."""
        said = self.remarks(
            found(handler(), left_out=3),
            "HF_TOKEN",
            options={"host": "'::1'"},
            unknown=["WorkerConfig.readiness"],
            workers=2,
        )
        self.assertIn("host='::1'", said["run()"])
        self.assertIn("no such field", said["WorkerConfig.readiness"])
        self.assertIn("2 workers", said["Worker"])
        self.assertIn("3 were left out", said["handlers"])
        self.assertIn("HF_TOKEN", said["environment"])
        said = self.remarks(found(handler()), programs=["uvicorn", "uvicorn", "nginx"])
        self.assertIn("on-start script", said["uvicorn, nginx"])

    def test_more(self) -> None:
        """What Vespa has for a kind of server is named, with values that its settings take."""
        for route, about in (("/prompt", "VESPA_JOBS=comfyui"), ("/generate/sync", "VESPA_ABORT=comfyui-wrapper")):
            self.assertIn("is not set", self.remarks(found(handler(route)))[about])
        for settings in MORE.values():
            for name, value, _ in settings:
                if name in KNOWN:
                    parse = KNOWN[name].parse
                    assert parse is not None
                    self.assertEqual(parse(value), value)
