from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.proxy.browsers import browser_requests, program_requests
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import parse_request_head
from vespa.proxy.browser_guard import BrowserGuard

PORT = 8010


def checked(guard: BrowserGuard, data: bytes) -> bytes:
    """The allowed origin of a page that asks, by both checks. Raises `Refusal`."""
    head, _ = parse_request_head(data)
    allowed = guard.check_page(head)
    guard.check_token(head)
    return allowed


def outcome(guard: BrowserGuard, data: bytes) -> tuple[int, str]:
    """The status and code of the refusal; (0, "") if there is none."""
    try:
        checked(guard, data)
    except Refusal as refusal:
        return refusal.status, refusal.code
    return 0, ""


def asked(host: str, *lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


class BrowserTests(SynchronousTestCase):
    def test_browsers_are_refused(self) -> None:
        """Whatever a foreign page can make a browser send gets 403, with the code that says what gave it away."""
        guard = BrowserGuard(host="127.0.0.1")
        requests = browser_requests(PORT)
        self.assertGreaterEqual(len(requests), 30)
        got = {each.name: outcome(guard, each.head) for each in requests}
        self.assertEqual(got, {each.name: (403, each.code) for each in requests})

    def test_the_second_time_too(self) -> None:
        """Earlier requests do not change the result for the next one, in any order."""
        guard = BrowserGuard(host="127.0.0.1")
        for each in [*program_requests(PORT), *browser_requests(PORT), *program_requests(PORT)]:
            for _ in range(2):
                self.assertEqual(outcome(guard, each.head), (403, each.code) if each.code else (0, ""), each.name)

    def test_a_token_does_not_excuse(self) -> None:
        """A foreign page is refused as such whether or not it shows the token."""
        guard = BrowserGuard(host="127.0.0.1", token="t0ken")
        for each in browser_requests(PORT):
            shown = each.head[:-2] + b"Authorization: Bearer t0ken\r\n\r\n"
            self.assertEqual(outcome(guard, shown), (403, each.code), each.name)

    def test_no_leave_is_given(self) -> None:
        """A refusal has no header of CORS: a page that asks for leave gets none."""
        guard = BrowserGuard(host="127.0.0.1")
        for each in browser_requests(PORT):
            with self.assertRaises(Refusal) as caught:
                checked(guard, each.head)
            names = [name.lower() for name, _ in caught.exception.header_list()]
            self.assertFalse([name for name in names if name.startswith(b"access-control")], each.name)


class ProgramTests(SynchronousTestCase):
    def test_programs_pass(self) -> None:
        """Libraries as they are, and pages that came through this proxy, are let in."""
        guard = BrowserGuard(host="127.0.0.1")
        got = {each.name: outcome(guard, each.head) for each in program_requests(PORT)}
        self.assertEqual(got, dict.fromkeys(got, (0, "")))

    def test_what_to_set(self) -> None:
        """The refusal of a page names the option that would allow it, if there is one."""
        lines = ("Origin: https://a.example", "Referer: https://a.example/", "Sec-Fetch-Site: cross-site")
        for line in lines:
            data = asked("localhost", line)
            for setting, said in (("--allow-origin", True), ("", False)):
                refusal = self.assertRaises(
                    Refusal, checked, BrowserGuard(host="127.0.0.1", origin_setting=setting), data
                )
                self.assertEqual(
                    str(refusal).endswith(": to allow the pages of an origin, use --allow-origin"), said, str(refusal)
                )

    def test_many_lines(self) -> None:
        """After many different lines and hosts, the next request gets the same result as the first."""
        guard = BrowserGuard(host="0.0.0.0")
        for number in range(5000):
            self.assertEqual(outcome(guard, asked(f"10.0.{number >> 8}.{number & 255}:1", f"X-N: {number}")), (0, ""))
        self.assertEqual(outcome(guard, asked("localhost", "Origin: null")), (403, "foreign_origin"))
        self.assertLess(len(guard.known_hosts), 1000)


class HostTests(SynchronousTestCase):
    def test_listed_names(self) -> None:
        """A listed name passes at any port, one that is listed with a port at that alone; case does not matter."""
        guard = BrowserGuard(
            host="127.0.0.1", allow_hosts=["Box.example", "gate:8443", "2001:db8::1", "bücher.example"]
        )
        passing = ["box.example", "BOX.example:1", "gate:8443", "[2001:db8::1]:9", "xn--bcher-kva.example:80"]
        failing = ["box.example.", "a.box.example", "gate", "gate:8010", "[2001:db8::2]", "bucher.example"]
        self.assertEqual([outcome(guard, asked(host)) for host in passing], [(0, "")] * len(passing))
        self.assertEqual([outcome(guard, asked(host)) for host in failing], [(403, "foreign_host")] * len(failing))

    def test_own_origin_of_a_listed_name(self) -> None:
        """A page that came by a listed name is ours under that name only."""
        guard = BrowserGuard(host="127.0.0.1", allow_hosts=["box"])
        self.assertEqual(outcome(guard, asked("box:8010", "Origin: http://BOX:8010")), (0, ""))
        self.assertEqual(outcome(guard, asked("localhost:8010", "Origin: http://box:8010"))[0], 403)

    def test_open_to_the_network(self) -> None:
        """If other machines may connect, any address is an allowed Host, and a name only if it is listed."""
        for interface in ("0.0.0.0", "::", "192.0.2.7", ""):
            guard = BrowserGuard(host=interface)
            for host in ("192.0.2.7:8010", "[2001:db8::1]:8010", "10.0.0.1", "localhost"):
                self.assertEqual(outcome(guard, asked(host)), (0, ""), f"{interface} {host}")
            for host in ("evil.example", "192.0.2.7.evil", "[192.0.2.7]", "1.2.3", "10.0.0.1:", "10.0.0.1."):
                self.assertEqual(outcome(guard, asked(host)), (403, "foreign_host"), f"{interface} {host}")

    def test_another_loopback_interface(self) -> None:
        """The loopback address that is listened on is a fine Host; no other address is."""
        guard = BrowserGuard(host="127.0.0.2")
        self.assertEqual(outcome(guard, asked("127.0.0.2:8010")), (0, ""))
        self.assertEqual(outcome(guard, asked("127.0.0.3:8010")), (403, "foreign_host"))
        self.assertEqual(outcome(guard, asked("192.0.2.7")), (403, "foreign_host"))

    def test_ports(self) -> None:
        """Any port will do, and none; one that is not a number does not."""
        guard = BrowserGuard(host="::1")
        for host, code in (("localhost:1", ""), ("localhost", ""), ("[::1]:65535", ""), ("localhost:", "foreign_host")):
            self.assertEqual(outcome(guard, asked(host))[1], code, host)

    def test_no_host(self) -> None:
        """An HTTP/1.0 request that names no host is none of ours."""
        self.assertEqual(outcome(BrowserGuard(host="127.0.0.1"), b"GET / HTTP/1.0\r\n\r\n"), (403, "foreign_host"))

    def test_any_host(self) -> None:
        """Where the Host may be any name, a page is still ours only under the name that it came by."""
        guard = BrowserGuard(host="127.0.0.1", any_host=True)
        self.assertEqual(outcome(guard, asked("any.example:1", "Origin: http://any.example:1")), (0, ""))
        self.assertEqual(outcome(guard, asked("any.example:1", "Origin: http://any.example")), (403, "foreign_origin"))

    def test_host_alone(self) -> None:
        """The check of the Host alone lets pass what a foreign page sends to a name of ours, and nothing else."""
        guard = BrowserGuard(host="127.0.0.1", needs_host=False)
        for _ in range(2):
            guard.check_host(parse_request_head(asked("localhost", "Origin: http://evil.example"))[0])
        guard.check_host(parse_request_head(b"GET / HTTP/1.0\r\n\r\n")[0])
        for _ in range(2):
            with self.assertRaises(Refusal) as caught:
                guard.check_host(parse_request_head(asked("evil.example"))[0])
            self.assertEqual(caught.exception.code, "foreign_host")
        with self.assertRaises(Refusal):
            BrowserGuard(host="127.0.0.1").check_host(parse_request_head(b"GET / HTTP/1.0\r\n\r\n")[0])

    def test_advice(self) -> None:
        """A refused Host is told which setting adds one, or which there is without such a setting."""
        for setting, advice in (("--allow-host", "--allow-host adds one"), ("", "localhost is one")):
            with self.assertRaisesRegex(Refusal, advice):
                checked(BrowserGuard(host="127.0.0.1", setting=setting), asked("evil.example"))


class TokenTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """The token opens as a bearer and as each kind of API key that libraries send; the scheme's case is free."""
        guard = BrowserGuard(host="127.0.0.1", token="t0ken")
        for line in (
            "Authorization: Bearer t0ken",
            "authorization: bearer  t0ken",
            "X-Api-Key: t0ken",
            "api-key: t0ken",
            "x-goog-api-key: t0ken",
        ):
            self.assertEqual(outcome(guard, asked("localhost", line)), (0, ""), line)

    def test_not_shown(self) -> None:
        """No token, a wrong one, a part of it or another scheme get 401 with a challenge, which does not show it."""
        guard = BrowserGuard(host="127.0.0.1", token="t0ken")
        for line in (
            "Accept: */*",
            "Authorization: t0ken",
            "Authorization: Basic t0ken",
            "Authorization: Bearer",
            "Authorization: Bearer t0ke",
            "Authorization: Bearer t0kenn",
            "X-Api-Key: T0ken",
            "X-Api-Key:",
            "Cookie: token=t0ken",
        ):
            with self.assertRaises(Refusal, msg=line) as caught:
                checked(guard, asked("localhost", line))
            refusal = caught.exception
            self.assertEqual((refusal.status, refusal.code), (401, "token_required"))
            self.assertIn((b"WWW-Authenticate", b"Bearer"), refusal.header_list())
            self.assertNotIn(b"t0ken", refusal.body())

    def test_no_token_set(self) -> None:
        """Without a token nothing has to be shown, and whatever is shown does no harm."""
        for token in ("Authorization: Bearer x", "X-Api-Key:", "Accept: */*"):
            self.assertEqual(outcome(BrowserGuard(host="127.0.0.1"), asked("localhost", token)), (0, ""))


class OriginTests(SynchronousTestCase):
    def test_allowed(self) -> None:
        """A page of an allowed origin is accepted, whatever its other fields are; the result has its origin."""
        origins = ["app://obsidian.md", "tauri://localhost", "chrome-extension://abcdefgh", "http://localhost:3000"]
        guard = BrowserGuard(host="127.0.0.1", allow_origins=origins)
        for origin in origins:
            for lines in (
                (f"Origin: {origin}",),
                ("Sec-Fetch-Site: cross-site", f"Origin: {origin}"),
                (f"Origin: {origin}", f"Referer: {origin}/a?b", "Sec-Fetch-Site: same-site"),
            ):
                self.assertEqual(checked(guard, asked("localhost:8010", *lines)), origin.encode())
        self.assertEqual(checked(guard, asked("localhost:8010")), b"")

    def test_others_are_not(self) -> None:
        """The match is exact, one Origin is one, and what has no Origin is judged as ever; so is the Host."""
        guard = BrowserGuard(host="127.0.0.1", allow_origins=["http://localhost:3000"])
        for host, code, *lines in (
            ("localhost", "foreign_origin", "Origin: null"),
            ("localhost", "foreign_origin", "Origin: *"),
            ("localhost", "foreign_origin", "Origin: http://localhost:30000"),
            ("localhost", "foreign_origin", "Origin: http://localhost:300"),
            ("localhost", "foreign_origin", "Origin: https://localhost:3000"),
            ("localhost", "foreign_origin", "Origin: http://localhost:3000/"),
            ("localhost", "foreign_origin", "Origin: http://localhost:3000", "Origin: http://localhost:3000"),
            ("localhost", "foreign_origin", "Origin: http://localhost:3000", "Origin: https://evil.example"),
            ("localhost", "foreign_origin", "Origin: http://localhost:3000", "Referer: https://evil.example/"),
            ("localhost", "foreign_origin", "Referer: http://localhost:3000/"),
            ("localhost", "cross_site", "Sec-Fetch-Site: same-site"),
            ("evil.example", "foreign_host", "Origin: http://localhost:3000"),
            ("evil.example", "foreign_host", "Origin: http://evil.example"),
        ):
            self.assertEqual(outcome(guard, asked(host, *lines)), (403, code), lines)

    def test_the_token_all_the_same(self) -> None:
        """An allowed page shows the token as a program does."""
        guard = BrowserGuard(host="127.0.0.1", token="t0ken", allow_origins=["http://localhost:3000"])
        self.assertEqual(outcome(guard, asked("localhost", "Origin: http://localhost:3000")), (401, "token_required"))
