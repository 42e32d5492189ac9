"""Who may use the admin port."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.rig import EVERYWHERE, LOOPBACK, TOKEN
from vespa.observability.admin_access import SIGN_IN_SECONDS, AdminAccess
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead, parse_request_head

NOW = 1_700_000_000.0
LINK = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


def access(endpoint: str = LOOPBACK, token: str = "", now: float = NOW) -> AdminAccess:
    return AdminAccess(endpoint, token, lambda: now)


def head(*lines: str, host: str = "localhost:9464", method: str = "GET") -> RequestHead:
    text = "\r\n".join([f"{method} / HTTP/1.1", f"Host: {host}", *lines, "", ""])
    return parse_request_head(text.encode("latin-1"))[0]


def outcome(given: AdminAccess, asked: RequestHead) -> str:
    """The code of the refusal; "" if there is none."""
    try:
        given.check_page(asked)
    except Refusal as refusal:
        return refusal.code
    return ""


class PageTests(SynchronousTestCase):
    def test_hosts(self) -> None:
        """Without a token the Host is a name of this machine, so that no page can read the port by rebinding."""
        for host in ("localhost", "127.0.0.1:9464", "[::1]:9464", "LOCALHOST:1"):
            self.assertEqual(outcome(access(), head(host=host)), "", host)
        for host in ("evil.example", "localhost.evil.example", "10.0.0.7:9464", "evil.example:9464"):
            self.assertEqual(outcome(access(), head(host=host)), "foreign_host", host)
            self.assertEqual(outcome(access(), head(*LINK, host=host)), "foreign_host", host)
        self.assertEqual(outcome(access("tcp:9464:interface=127.0.0.9"), head(host="127.0.0.9:9464")), "")

    def test_no_host(self) -> None:
        """A probe without a Host passes: no browser sends none."""
        asked, _ = parse_request_head(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual(outcome(access(), asked), "")

    def test_hosts_with_a_token(self) -> None:
        """With a token the Host may be any name: a page of that name has no cookie of ours."""
        for endpoint in (LOOPBACK, EVERYWHERE):
            self.assertEqual(outcome(access(endpoint, TOKEN), head(host="worker.svc:9464")), "")

    def test_unix(self) -> None:
        """A unix socket has no name, and no browser opens one."""
        self.assertEqual(outcome(access("unix:/run/x.sock"), head("Origin: http://a.example", host="any")), "")

    def test_foreign_pages(self) -> None:
        """A page of another origin is refused, with a token or without; our own page may use everything."""
        for given in (access(), access(LOOPBACK, TOKEN), access(EVERYWHERE, TOKEN)):
            for method in ("GET", "POST"):
                for line in ("Origin: http://localhost:3000", "Origin: null", "Referer: http://localhost:3000/"):
                    self.assertEqual(outcome(given, head(line, method=method)), "foreign_origin", line)
                self.assertEqual(outcome(given, head("Sec-Fetch-Site: same-site", method=method)), "cross_site")
                own = (
                    "Origin: http://localhost:9464",
                    "Referer: http://localhost:9464/",
                    "Sec-Fetch-Site: same-origin",
                )
                self.assertEqual(outcome(given, head(*own, method=method)), "")
        tls = access("ssl:9464:interface=127.0.0.1", TOKEN)
        self.assertEqual(outcome(tls, head("Origin: https://localhost:9464", method="POST")), "")
        self.assertEqual(outcome(tls, head("Origin: http://localhost:9464", method="POST")), "foreign_origin")

    def test_links(self) -> None:
        """A link of another page to the port may be followed, as from Prometheus' list of targets, but only by GET."""
        self.assertEqual(outcome(access(), head(*LINK, "Referer: http://localhost:9090/targets")), "")
        self.assertEqual(outcome(access(), head(*LINK, method="POST")), "cross_site")
        for mode, place in (("navigate", "iframe"), ("no-cors", "document"), ("cors", "empty")):
            lines = ("Sec-Fetch-Site: cross-site", f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {place}")
            self.assertEqual(outcome(access(), head(*lines)), "cross_site", lines)


class TokenTests(SynchronousTestCase):
    def cookie(self, given: AdminAccess) -> str:
        cookie = given.sign_in(b"token=" + TOKEN.encode())
        assert cookie is not None
        return cookie.decode().partition(";")[0]

    def test_no_token(self) -> None:
        """Without a token everyone who reaches the port may use it."""
        self.assertTrue(access().is_allowed(head()))

    def test_bearer(self) -> None:
        """The token is a bearer token; any of several lines may have it."""
        given = access(EVERYWHERE, TOKEN)
        for line in (f"Authorization: Bearer {TOKEN}", f"authorization: bearer  {TOKEN}"):
            self.assertTrue(given.is_allowed(head("Authorization: Basic eA==", line)), line)
        for line in (f"Authorization: Bearer {TOKEN}x", "Authorization: Bearer", f"X-Api-Key: {TOKEN}", "Cookie: a"):
            self.assertFalse(given.is_allowed(head(line)), line)

    def test_cookie(self) -> None:
        """A cookie counts until its time, at the port of the same token, also after a restart."""
        cookie = self.cookie(access(EVERYWHERE, TOKEN))
        asked = head(f"Cookie: a=b; {cookie}")
        self.assertTrue(access(EVERYWHERE, TOKEN).is_allowed(asked))
        self.assertTrue(access(EVERYWHERE, TOKEN, NOW + SIGN_IN_SECONDS - 1).is_allowed(asked))
        self.assertFalse(access(EVERYWHERE, TOKEN, NOW + SIGN_IN_SECONDS + 1).is_allowed(asked))
        self.assertFalse(access(EVERYWHERE, "other").is_allowed(asked))

    def test_forged_cookies(self) -> None:
        """A cookie with another time, another signature or another name is worth nothing."""
        given = access(EVERYWHERE, TOKEN)
        name, _, value = self.cookie(given).partition("=")
        until, _, signature = value.partition(".")
        later = str(int(until) + 1)
        for forged in (
            f"{name}={later}.{signature}",
            f"{name}={until}.{signature[:-1]}",
            f"{name}={until}.",
            f"{name}=",
            name,
            f"{name}x={value}",
            f"{name}=\u00b2.{signature}",
        ):
            self.assertFalse(given.is_allowed(head(f"Cookie: {forged}")), forged)

    def test_cookies_of_others(self) -> None:
        """Two ports of one host with different tokens have a cookie each, so that none replaces the other."""
        first = self.cookie(access(EVERYWHERE, TOKEN)).partition("=")[0]
        other = access(EVERYWHERE, "other").sign_in(b"token=other")
        assert other is not None
        self.assertNotEqual(first.encode(), other.partition(b"=")[0])

    def test_secure(self) -> None:
        """Over TLS the cookie is for TLS alone."""
        cookie = access("ssl:9464", TOKEN).sign_in(b"token=" + TOKEN.encode())
        assert cookie is not None
        self.assertTrue(cookie.endswith(b"; Secure"))
