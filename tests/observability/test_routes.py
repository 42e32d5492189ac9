"""The routes of the admin port, in memory."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.rig import EVERYWHERE, PAGE, TOKEN, AdminRig
from tests.rig import body, fields, status

BEARER = f"Authorization: Bearer {TOKEN}"
BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"


class RouteTests(SynchronousTestCase):
    def test_health(self) -> None:
        """/healthz says that the process and its event loop live, whether or not it serves requests."""
        rig = AdminRig()
        for rig.ready in ((True, ""), (False, "loading")):
            response = rig.ask("/healthz")
            self.assertEqual((status(response), body(response)), (200, b"ok\n"))

    def test_readiness(self) -> None:
        """/readyz is 200 or 503, with the reason in words, or as JSON for those who accept it."""
        rig = AdminRig()
        response = rig.ask("/readyz")
        self.assertEqual((status(response), body(response)), (200, b"ready\n"))
        rig.ready = (False, "the backend is loading: connection refused")
        response = rig.ask("/readyz")
        self.assertEqual(
            (status(response), body(response)), (503, b"not ready: the backend is loading: connection refused\n")
        )
        response = rig.ask("/readyz", "Accept: application/json")
        self.assertEqual(status(response), 503)
        self.assertEqual(fields(response, b"content-type"), [b"application/json"])
        self.assertEqual(
            json.loads(body(response)), {"ready": False, "reason": "the backend is loading: connection refused"}
        )

    def test_metrics(self) -> None:
        """/metrics answers in the format that the scraper accepts."""
        rig = AdminRig()
        response = rig.ask("/metrics", "Accept: application/openmetrics-text;version=1.0.0, */*;q=0.1")
        self.assertEqual(status(response), 200)
        self.assertEqual(fields(response, b"content-type"), [b"text/plain; version=1.0.0"])
        self.assertEqual(body(response), b"vespa_ready 1\n")
        self.assertEqual(rig.accepts, ["application/openmetrics-text;version=1.0.0, */*;q=0.1"])

    def test_status(self) -> None:
        """/status.json is the document; a number that JSON does not have is null."""
        response = AdminRig().ask("/status.json")
        self.assertEqual(fields(response, b"content-type"), [b"application/json"])
        self.assertEqual(json.loads(body(response)), {"made": 1, "ratio": None, "padding": "", "whole": True})

    def test_page(self) -> None:
        """The page comes with a policy that allows its own style and script, and nothing else."""
        response = AdminRig().ask("/")
        self.assertEqual((status(response), body(response)), (200, PAGE))
        self.assertEqual(fields(response, b"content-type"), [b"text/html; charset=utf-8"])
        (policy,) = fields(response, b"content-security-policy")
        self.assertIn(b"default-src 'none'", policy)
        self.assertIn(b"script-src 'sha256-", policy)

    def test_always(self) -> None:
        """Every response, refusals included, is neither stored nor guessed at."""
        rig = AdminRig()
        for path in ("/", "/healthz", "/readyz", "/metrics", "/status.json", "/log-level", "/no", "/events"):
            response = rig.ask(path)
            self.assertEqual(fields(response, b"cache-control"), [b"no-store"], path)
            self.assertEqual(fields(response, b"x-content-type-options"), [b"nosniff"], path)

    def test_head(self) -> None:
        """HEAD has the head of GET, and no body."""
        rig = AdminRig()
        for path in ("/", "/healthz", "/readyz", "/metrics"):
            head, got = rig.ask(path, method="HEAD"), rig.ask(path)
            self.assertEqual(body(head), b"", path)
            self.assertEqual(fields(head, b"content-length"), fields(got, b"content-length"), path)
            self.assertEqual(status(head), 200)

    def test_refusals(self) -> None:
        """An unknown path is 404 and names the known ones; a wrong method is 405 and names the right ones."""
        rig = AdminRig()
        response = rig.ask("/metric")
        self.assertEqual(status(response), 404)
        self.assertEqual(fields(response, b"x-vespa-error"), [b"not_found"])
        self.assertIn(b"/metrics", body(response))
        for path, method, allow in (
            ("/metrics", "POST", b"GET, HEAD"),
            ("/", "DELETE", b"GET, HEAD"),
            ("/events", "OPTIONS", b"GET, HEAD"),
            ("/log-level", "GET", b"POST"),
            ("/log-level", "HEAD", b"POST"),
        ):
            response = rig.ask(path, method=method)
            self.assertEqual((status(response), fields(response, b"allow")), (405, [allow]), path)
        self.assertEqual(status(rig.ask("*", method="OPTIONS")), 204)

    def test_queries(self) -> None:
        """A query changes nothing."""
        self.assertEqual(status(AdminRig().ask("/metrics?name[]=up")), 200)

    def test_level(self) -> None:
        """POST /log-level takes the name of a level; an unknown one is 422 with the known ones."""
        rig = AdminRig()
        response = rig.ask("/log-level", method="POST", content=b"debug\n")
        self.assertEqual((status(response), json.loads(body(response))), (200, {"level": "debug"}))
        self.assertEqual(rig.level, "debug")
        response = rig.ask("/log-level", method="POST", content=b"loud")
        self.assertEqual((status(response), rig.level), (422, "debug"))
        self.assertIn("'loud' is not a level", json.loads(body(response))["error"]["message"])
        self.assertEqual(status(rig.ask("/log-level", method="POST", content=b"d" * 4097)), 413)

    def test_a_failure(self) -> None:
        """An error in what is shown is logged with its traceback and answered 500; other routes still answer."""
        rig = AdminRig()
        rig.fails = True
        response = rig.ask("/status.json?secret=1")
        self.assertEqual((status(response), fields(response, b"x-vespa-error")), (500, [b"internal_error"]))
        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(status(rig.ask("/healthz")), 200)

    def test_one_connection(self) -> None:
        """A scraper keeps its connection."""
        rig = AdminRig()
        wire = rig.client()
        for _ in range(3):
            wire.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(status(wire.read()), 200)
            rig.clock.advance(60)
        self.assertTrue(wire.open)


class TokenTests(SynchronousTestCase):
    """A port that other machines can reach."""

    def test_needed(self) -> None:
        """Without the token everything but the probes is refused, whether or not the path exists."""
        rig = AdminRig(EVERYWHERE, TOKEN)
        for path in ("/", "/metrics", "/status.json", "/events", "/no"):
            for lines in ((), ("Authorization: Bearer no",), (f"Authorization: {TOKEN}",), ("Cookie: vespa_admin=1",)):
                response = rig.ask(path, *lines)
                self.assertEqual(status(response), 401, path)
                self.assertEqual(fields(response, b"www-authenticate"), [b"Bearer"])
        self.assertEqual(status(rig.ask("/log-level", method="POST", content=b"debug")), 401)
        self.assertEqual(rig.level, "info")

    def test_shown(self) -> None:
        """With it everything is there."""
        rig = AdminRig(EVERYWHERE, TOKEN)
        for path in ("/", "/metrics", "/status.json", "/events", "/healthz"):
            self.assertEqual(status(rig.ask(path, BEARER, host="worker.example:9464")), 200, path)
        self.assertEqual(status(rig.ask("/log-level", BEARER, method="POST", content=b"debug")), 200)

    def test_probes(self) -> None:
        """The probes need none, but reveal no more than ready or not."""
        rig = AdminRig(EVERYWHERE, TOKEN)
        rig.ready = (False, "the benchmark failed")
        self.assertEqual(status(rig.ask("/healthz", host="10.0.0.7:9464")), 200)
        response = rig.ask("/readyz", host="10.0.0.7:9464")
        self.assertEqual((status(response), body(response)), (503, b"not ready\n"))
        response = rig.ask("/readyz", "Accept: application/json")
        self.assertEqual(json.loads(body(response)), {"ready": False, "reason": ""})
        self.assertIn(b"the benchmark failed", rig.ask("/readyz", BEARER))

    def test_browser(self) -> None:
        """A browser gives the token once in the URL, and gets a cookie and a URL without it."""
        rig = AdminRig(EVERYWHERE, TOKEN)
        response = rig.ask("/", BROWSER)
        self.assertEqual(status(response), 401)
        self.assertIn(b'name="token"', body(response))
        self.assertIn(b"default-src 'none'", fields(response, b"content-security-policy")[0])
        self.assertEqual(status(rig.ask("/?token=wrong", BROWSER)), 401)
        for query in ("token=adm1n+t0ken", "a=b&token=adm1n%2Bt0ken"):
            response = rig.ask(f"/?{query}", BROWSER)
            self.assertEqual((status(response), fields(response, b"location")), (303, [b"/"]))
            (cookie,) = fields(response, b"set-cookie")
            value, *attributes = cookie.split(b"; ")
            self.assertEqual(attributes, [b"Max-Age=604800", b"Path=/", b"HttpOnly", b"SameSite=Strict"])
            self.assertNotIn(b"t0ken", cookie)
            response = rig.ask("/", f"Cookie: other=1; {value.decode()}")
            self.assertEqual((status(response), body(response)), (200, PAGE))
        again = rig.ask("/?token=adm1n%2Bt0ken", BROWSER, f"Cookie: {value.decode()}")
        self.assertEqual((status(again), fields(again, b"location")), (303, [b"/"]))
        rig.clock.advance(7 * 86400)
        self.assertEqual(status(rig.ask("/", f"Cookie: {value.decode()}")), 401)

    def test_no_other_path(self) -> None:
        """The token in the URL of another path, or in a POST, is no sign-in."""
        rig = AdminRig(EVERYWHERE, TOKEN)
        for path, method in (("/metrics", "GET"), ("/", "POST")):
            response = rig.ask(f"{path}?token=adm1n%2Bt0ken", BROWSER, method=method)
            self.assertEqual((status(response), fields(response, b"set-cookie")), (401, []))
