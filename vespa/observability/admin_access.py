"""
Who may use the admin port: programs with its token, browsers that were given it, and no page of another site.

Without a token the port is open to this machine only, and the Host of a request must be a name of this machine:
otherwise any web page could read the status through a name of its own that leads to 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from vespa.protocol.fields import Fields
from vespa.protocol.request_head import RequestHead
from vespa.proxy.browser_guard import BrowserGuard
from vespa.transport.endpoint_strings import interface_of, kind_of

SIGN_IN_SECONDS: Final = 7 * 86400
"""The time for which a browser that was given the token needs it no more."""


class AdminAccess:
    """Decides from a request's head who may see what."""

    def __init__(self, endpoint: str, token: str, seconds: Callable[[], float]) -> None:
        """
        `endpoint` is the endpoint string that the port was made of. `token` "": everyone who reaches the port may use
        it. `seconds` returns the time since the epoch.
        """
        self.has_token = bool(token)
        self._token = token.encode("utf-8")
        self._seconds = seconds
        self._secure = b"; Secure" if kind_of(endpoint) == "ssl" else b""
        # Browsers send a cookie to every port of a host. So it holds a signature and not the token, and each token has
        # a cookie of its own.
        self._cookie = b"vespa_admin_" + self._sign(b"name")[:8]
        self._guard = (
            None  # browsers do not open unix sockets
            if kind_of(endpoint) == "unix"
            else BrowserGuard(
                host=interface_of(endpoint),
                scheme=b"https" if kind_of(endpoint) == "ssl" else b"http",
                setting="",
                needs_host=False,
                any_host=self.has_token,  # a foreign page has no cookie, because the browser keeps it for our name
            )
        )

    def check_page(self, head: RequestHead) -> None:
        """Raises `Refusal` 403 for a request that a page of another site may have made."""
        if self._guard is None:
            return
        if _is_navigation(head):
            self._guard.check_host(head)  # a link, whose page cannot read what it leads to
        else:
            self._guard.check_page(head)

    def is_allowed(self, head: RequestHead) -> bool:
        """Whether the request has the token, or the cookie of a browser that was given it, or needs neither."""
        if not self.has_token:
            return True
        shown = False
        for name, value in _fields(head.headers, (b"authorization", b"cookie")):
            if name == b"cookie":
                shown |= any(self._is_signed(each) for each in value.split(b";"))
            elif value[:7].lower() == b"bearer ":
                shown |= hmac.compare_digest(value[7:].strip(b" "), self._token)
        return shown

    def sign_in(self, query: bytes) -> bytes | None:
        """The Set-Cookie value for a URL's query with the right `token`; None if it is missing or wrong."""
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            # "+" is no space here: a token has none.
            if name == b"token" and hmac.compare_digest(unquote_to_bytes(value), self._token):
                until = b"%d" % (self._seconds() + SIGN_IN_SECONDS)
                return b"%b=%b.%b; Max-Age=%d; Path=/; HttpOnly; SameSite=Strict%b" % (
                    self._cookie,
                    until,
                    self._sign(until),
                    SIGN_IN_SECONDS,
                    self._secure,
                )
        return None

    def _is_signed(self, cookie: bytes) -> bool:
        name, _, value = cookie.strip(b" \t").partition(b"=")
        until, _, signature = value.partition(b".")
        return (
            name == self._cookie
            and hmac.compare_digest(signature, self._sign(until))
            and until.isdigit()
            and int(until) > self._seconds()
        )

    def _sign(self, text: bytes) -> bytes:
        return hmac.new(self._token, b"vespa admin port: " + text, "sha256").hexdigest().encode("ascii")


def _fields(headers: Fields, names: tuple[bytes, ...]) -> Iterable[tuple[bytes, bytes]]:
    return ((lower, value) for name, value in headers if (lower := name.lower()) in names)


def _is_navigation(head: RequestHead) -> bool:
    """Whether a browser opens a whole page, because its user typed a URL or followed a link. Pages cannot forge it."""
    if head.method not in (b"GET", b"HEAD"):
        return False
    found = dict(_fields(head.headers, (b"sec-fetch-mode", b"sec-fetch-dest")))
    return found == {b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}
