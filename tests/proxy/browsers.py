"""
Requests as browsers make them for pages that are none of ours, and as programs make them.

Each is a whole request for a proxy at `localhost:<port>`, with its body; a browser's names the code that refuses it.
"""

from __future__ import annotations

from attrs import frozen

_CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
_FORM = b"model=m&prompt=hi"
_CHROME = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"
_OLD = "User-Agent: Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)"
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@frozen
class Asked:
    """A request's bytes; `code` is the refusal that it meets ("": none)."""

    name: str
    data: bytes
    code: str = ""

    @property
    def head(self) -> bytes:
        """Up to the blank line, which belongs to it."""
        return self.data[: self.data.index(b"\r\n\r\n") + 4]


def _fetched(mode: str, destination: str, site: str = "cross-site") -> list[str]:
    return [f"Sec-Fetch-Site: {site}", f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {destination}"]


def _request(start: str, lines: list[str], body: bytes = b"") -> bytes:
    if body:
        lines = [*lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([f"{start} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


def browser_requests(port: int) -> list[Asked]:
    """What the proxy at this port refuses; each of them is a POST that would cost, or another way to get at one."""
    here = f"localhost:{port}"
    mine = f"Host: {here}"
    evil = "Origin: https://evil.example"
    text, json = "Content-Type: text/plain;charset=UTF-8", "Content-Type: application/json"
    chat = "POST /v1/chat/completions"
    form = "Content-Type: application/x-www-form-urlencoded"
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY}"]
    asks = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"]

    def posted(name: str, code: str, *lines: str, host: str = mine, start: str = chat) -> Asked:
        return Asked(name, _request(start, [host, _CHROME, *lines], _CHAT), code)

    def got(name: str, code: str, *lines: str, host: str = mine, start: str = "GET /v1/models") -> Asked:
        return Asked(name, _request(start, [host, *lines]), code)

    foreign, site, name = "foreign_origin", "cross_site", "foreign_host"
    return [
        # A page of another site, in a browser of today.
        posted("fetch, cors", foreign, evil, json, *_fetched("cors", "empty")),
        posted("fetch, no-cors", foreign, evil, text, *_fetched("no-cors", "empty")),
        Asked(
            "a form is sent",
            _request(chat, [mine, _CHROME, evil, form, *_fetched("navigate", "document")], _FORM),
            foreign,
        ),
        posted(
            "a form from a file or a sandboxed frame", foreign, "Origin: null", text, *_fetched("navigate", "iframe")
        ),
        posted("null, and nothing else", foreign, "Origin: null", text),
        got("img", site, _CHROME, *_fetched("no-cors", "image")),
        got("script", site, _CHROME, *_fetched("no-cors", "script")),
        got("stylesheet without a Referer", site, _CHROME, *_fetched("no-cors", "style")),
        got("iframe", site, _CHROME, *_fetched("navigate", "iframe")),
        got("a link is followed", site, _CHROME, "Sec-Fetch-User: ?1", *_fetched("navigate", "document")),
        got(
            "preflight", foreign, _CHROME, evil, *asks, *_fetched("cors", "empty"), start="OPTIONS /v1/chat/completions"
        ),
        got(
            "preflight for a private network",
            foreign,
            evil,
            *asks,
            "Access-Control-Request-Private-Network: true",
            start="OPTIONS /v1/models",
        ),
        got("preflight for the server", foreign, evil, *asks, start="OPTIONS *"),
        posted("sendBeacon", foreign, evil, text, *_fetched("no-cors", "empty")),
        got("EventSource", foreign, evil, "Accept: text/event-stream", *_fetched("cors", "empty")),
        got("WebSocket", foreign, evil, *upgrade, *_fetched("websocket", "empty"), start="GET /ws"),
        got("WebSocket of an old browser", foreign, evil, *upgrade, start="GET /ws"),
        # Another server on this machine.
        posted("same site, another port", foreign, f"Origin: http://localhost:{port + 1}", json),
        got("img of the same site", site, *_fetched("no-cors", "image", "same-site")),
        posted("this machine by its other name", foreign, f"Origin: http://127.0.0.1:{port}", json),
        posted("https on the same port", foreign, f"Origin: https://{here}", json),
        posted("the port left out", foreign, "Origin: http://localhost", json),
        posted("a port that only begins as ours", foreign, f"Origin: http://{here}0", json),
        # Origins made to be misread.
        posted("a host that begins as ours", foreign, f"Origin: http://{here}.evil.example", json),
        posted("user information", foreign, f"Origin: http://{here}@evil.example", json),
        posted("a dot at the end of the Origin", foreign, f"Origin: http://localhost.:{port}", json),
        posted("a path in the Origin", foreign, f"Origin: http://{here}/", json),
        posted("an empty Origin", foreign, "Origin:", json),
        posted("two in one Origin", foreign, f"Origin: http://{here} https://evil.example", json),
        posted("ours first, then another", foreign, f"Origin: http://{here}", evil, json),
        posted("another first, then ours", foreign, evil, f"Origin: http://{here}", json),
        posted("ours twice", foreign, f"Origin: http://{here}", f"Origin: http://{here}", json),
        posted("upper case", foreign, "ORIGIN: HTTPS://EVIL.EXAMPLE", json),
        posted("an extension", foreign, "Origin: chrome-extension://abcdefghijklmnop", json),
        posted("IPv6 asks IPv4", foreign, f"Origin: http://[::1]:{port}", json),
        # Sec-Fetch-Site made to be misread.
        got("odd case", site, "Sec-Fetch-Site: Cross-Site"),
        got("two values", site, "Sec-Fetch-Site: same-origin, cross-site"),
        got("two lines", site, "Sec-Fetch-Site: none", "sec-fetch-site: cross-site"),
        got("no value", site, "Sec-Fetch-Site:"),
        # Browsers that know neither.
        got("an old browser's img", foreign, _OLD, "Referer: http://evil.example/page"),
        Asked(
            "an old browser's form",
            _request(chat, [mine, _OLD, "Referer: https://evil.example/", form], _FORM),
            foreign,
        ),
        got("a Referer with user information", foreign, _OLD, f"Referer: http://{here}@evil.example/"),
        got("a Referer that begins as ours", foreign, _OLD, f"Referer: http://{here}.evil.example/"),
        got("a Referer from another port", foreign, _OLD, f"REFERER: http://localhost:{port + 1}/"),
        # DNS rebinding: a name of theirs leads here, and to the browser all is one origin.
        posted(
            "rebound",
            name,
            f"Origin: http://evil.example:{port}",
            json,
            *_fetched("cors", "empty", "same-origin"),
            host=f"Host: evil.example:{port}",
        ),
        got("rebound, a plain GET", name, host=f"Host: evil.example:{port}"),
        got("below localhost", name, host=f"Host: localhost.evil.example:{port}"),
        got("localhost below another", name, host=f"Host: evil.localhost:{port}"),
        got("localhost.evil", name, host=f"Host: localhost.evil:{port}"),
        got("a dot at the end", name, host=f"Host: localhost.:{port}"),
        got("an address below a name", name, host=f"Host: 127.0.0.1.evil.example:{port}"),
        got("a name that holds the address", name, host=f"Host: 127.0.0.1.nip.io:{port}"),
        got("every interface", name, host=f"Host: 0.0.0.0:{port}"),
        got("another loopback address", name, host=f"Host: 127.0.0.2:{port}"),
        got("the address as a number", name, host=f"Host: 2130706433:{port}"),
        got("the address shortened", name, host=f"Host: 127.1:{port}"),
        got("IPv4 inside IPv6", name, host=f"Host: [::ffff:127.0.0.1]:{port}"),
        got("IPv6, every interface", name, host=f"Host: [::]:{port}"),
        got("upper case, rebound", name, host=f"HOST: EVIL.EXAMPLE:{port}"),
        got("a whole URL of theirs", name, start="GET http://evil.example/v1/models"),
        got("a whole URL of ours, their Host", name, host="Host: evil.example", start=f"GET http://{here}/v1/models"),
    ]


def program_requests(port: int) -> list[Asked]:
    """What the proxy at this port serves: libraries as they are, and its own pages."""
    here = f"localhost:{port}"
    mine, json = f"Host: {here}", "Content-Type: application/json"
    chat = "POST /v1/chat/completions"
    bearer = "Authorization: Bearer unused"
    stainless = ["X-Stainless-Lang: python", "X-Stainless-Runtime: CPython", "x-stainless-retry-count: 0"]

    def posted(name: str, *lines: str, host: str = mine, start: str = chat) -> Asked:
        return Asked(name, _request(start, [host, *lines], _CHAT))

    return [
        Asked("curl", _request("GET /v1/models", [mine, "User-Agent: curl/8.17.0", "Accept: */*"])),
        posted("curl, a POST", "User-Agent: curl/8.17.0", "Accept: */*", json),
        posted("requests", "User-Agent: python-requests/2.34.2", "Accept: */*", "Connection: keep-alive", json),
        posted("openai", "User-Agent: OpenAI/Python 3.54.0", "Accept: application/json", json, bearer, *stainless),
        posted(
            "anthropic",
            "User-Agent: Anthropic/Python 1.2.0",
            "X-Api-Key: unused",
            "anthropic-version: 2023-06-01",
            json,
            *stainless,
            start="POST /v1/messages",
        ),
        posted("node's fetch", "accept: */*", "accept-language: *", "sec-fetch-mode: cors", "user-agent: node", json),
        posted("deno's fetch", "accept: */*", "accept-language: *", "user-agent: Deno/2.5", json),
        posted("aiohttp", "Accept: */*", "User-Agent: Python/3.13 aiohttp/3.14.5", json),
        posted("OpenRouter's own field", "HTTP-Referer: https://app.example", "X-Title: app", json),
        posted("by IPv4", json, host=f"Host: 127.0.0.1:{port}"),
        posted("by IPv6", json, host=f"Host: [::1]:{port}"),
        posted("without a port", json, host="Host: localhost"),
        posted("upper case", json, host=f"Host: LocalHost:{port}"),
        Asked(
            "a WebSocket library that says where it connects to",
            _request(
                "GET /ws",
                [
                    mine,
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    f"Sec-WebSocket-Key: {_KEY}",
                    f"Origin: http://{here}",
                ],
            ),
        ),
        Asked("typed into a browser", _request("GET /", [mine, _CHROME, *_fetched("navigate", "document", "none")])),
        posted(
            "a backend's own page",
            _CHROME,
            f"Origin: http://{here}",
            f"Referer: http://{here}/ui?a=1",
            json,
            *_fetched("cors", "empty", "same-origin"),
        ),
        Asked("the address written out", _request(f"GET http://{here}/v1/models", [mine, "Accept: */*"])),
    ]
