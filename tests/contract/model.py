"""
What a worker owes to the bytes of one connection, as a function of those bytes (the table in docs/http.md).

The model says for each request whether it is passed on, answered by Vespa itself or refused, and what the backend
must then see. It is checked against the hand-written cases, and then stands for the law where requests are generated.
"""

from __future__ import annotations

import re

from attrs import frozen

from .reader import Feed, Field, Malformed, Request, Truncated, read_requests

HEAD_LIMIT = 32768
MAX_FORWARDS = b"max-forwards"
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
# What the proxy says in its own words: compared one by one, not as part of what passes.
OWN_WORDS = frozenset((b"host", b"content-length", b"expect", b"forwarded", b"via", b"origin", b"referer"))
# Never from outside: a server behind would take them for the proxy's word, or for another request's.
DROPPED = frozenset((b"proxy", b"x-original-url", b"x-rewrite-url", b"x-real-ip", b"http2-settings"))
OURS = HOP_BY_HOP | OWN_WORDS | DROPPED | {b"authorization", b"max-forwards", b"date", b"proxy-authorization"}
MARKS = re.compile(rb"[^0-9a-z]")
TOKENS_MAX = 64
# Every proxy passes these; another method may be passed or refused with 501.
COMMON_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
HOST = re.compile(rb"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
ODD_HOST = re.compile(rb"(?:[0-9A-Za-z._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
ABSOLUTE = re.compile(rb"(?i:(https?))://([^/?#]*)([^#]*)")


@frozen
class Verdict:
    """
    What becomes of one request: "forward", "local", "refuse", or "unfinished" where its end never came.

    `optional` marks what comes after a well-framed refusal, which a server may still answer; `doubtful` where RFC
    9112 allows both.
    """

    kind: str
    request: Request | None = None
    target: bytes = b""
    host: bytes | None = None
    statuses: tuple[int, ...] = ()
    why: str = ""
    optional: bool = False
    doubtful: bool = False


def verdicts(data: bytes) -> list[Verdict]:
    """What becomes of every request in these bytes, when nothing follows them."""
    requests: list[Request] = []
    feed = Feed(lambda source: read_requests(source, requests, HEAD_LIMIT))
    feed.feed(data)
    feed.end()
    found: list[Verdict] = []
    optional = False
    for request in requests:
        if not request.complete:
            break
        verdict = judge(request, optional)
        found.append(verdict)
        if not keeps_alive(request):
            return found
        optional = optional or verdict.kind == "refuse"
    unfinished: Request | None = None
    begun = judge(requests[-1], optional) if requests and not requests[-1].complete else None
    if begun is not None and begun.kind == "refuse":
        found.append(begun)
    elif isinstance(feed.error, Malformed):
        error = feed.error
        unfinished = begun.request if begun is not None else None
        doubtful = error.doubtful or (begun is not None and begun.doubtful)
        found.append(
            Verdict("refuse", unfinished, statuses=error.statuses, why=str(error), optional=optional, doubtful=doubtful)
        )
    elif isinstance(feed.error, Truncated):
        unfinished = begun.request if begun is not None else None
        doubtful = begun is not None and begun.doubtful
        found.append(Verdict("unfinished", unfinished, optional=optional, doubtful=doubtful))
    return found


def keeps_alive(request: Request) -> bool:
    """Whether the connection stays open after this request, as far as the request goes (RFC 9112 section 9.3)."""
    options = request.tokens(b"connection")
    return b"close" not in options and (request.version == 1 or b"keep-alive" in options)


def judge(request: Request, optional: bool = False) -> Verdict:
    """What becomes of a request whose head is well formed."""

    def refuse(why: str, *statuses: int, doubtful: bool = False) -> Verdict:
        return Verdict("refuse", request, statuses=statuses, why=why, optional=optional, doubtful=doubtful)

    hosts = request.values(b"host")
    if len(hosts) > 1 or (not hosts and request.version == 1):
        return refuse("not exactly one Host", 400)
    if hosts and not HOST.fullmatch(hosts[0]):
        return refuse("bad Host", 400, doubtful=bool(ODD_HOST.fullmatch(hosts[0])))
    if b",".join(request.values(b"connection")).count(b",") >= TOKENS_MAX:
        return refuse("too many Connection members", 431)
    if request.method in (b"CONNECT", b"TRACE"):
        return refuse("method not allowed", 400, 405)
    expectations = request.tokens(b"expect")
    if any(expectation != b"100-continue" for expectation in expectations):
        return refuse("unknown expectation", 417, doubtful=request.version == 0)
    host, target = hosts[0] if hosts else None, request.target
    if target == b"*" and request.method == b"OPTIONS":
        return Verdict("local", request, optional=optional)
    if b"#" in target:
        return refuse("fragment", 400)
    if absolute := ABSOLUTE.fullmatch(target):
        host, target = absolute[2], absolute[3]
        if not HOST.fullmatch(host):
            return refuse("bad authority", 400, doubtful=bool(ODD_HOST.fullmatch(host)))
        if not target.startswith(b"/"):
            if request.method == b"OPTIONS" and not target:
                return Verdict("local", request, optional=optional, doubtful=True)
            target = b"/" + target
        if absolute[1].lower() == b"https":
            return Verdict("forward", request, target, host, optional=optional, doubtful=True)
    if not target.startswith(b"/"):
        return refuse("target is not a path", 400)
    if request.method == b"OPTIONS" and b"0" in (value.lstrip(b"0") or b"0" for value in request.values(MAX_FORWARDS)):
        return Verdict("local", request, target, host, optional=optional)
    if target.partition(b"?")[0] == b"/ping":
        doubtful = target != b"/ping" or request.method != b"GET"
        return Verdict("local", request, target, host, optional=optional, doubtful=doubtful)
    doubtful = request.method not in COMMON_METHODS
    return Verdict("forward", request, target, host, optional=optional, doubtful=doubtful)


def end_to_end(fields: list[Field]) -> list[Field]:
    """The fields that must pass through untouched and in order, names in lower case."""
    named = b",".join(value for name, value in fields if name.lower() == b"connection").split(b",")
    gone = HOP_BY_HOP | OWN_WORDS | {token.strip(b" \t").lower() for token in named}
    lower = [(name.lower(), value) for name, value in fields]
    return [(name, value) for name, value in lower if name not in gone and not is_dropped(name)]


def is_dropped(name: bytes) -> bool:
    """Whether a field of this name (lower case) is the proxy's alone to say, or could be taken for one that is."""
    like = MARKS.sub(b"-", name)
    return name in DROPPED or like.startswith(b"x-forwarded-") or (like != name and like in OURS)


def differences(verdict: Verdict, seen: Request, proto: bytes = b"http", peer: bytes = b"127.0.0.1") -> list[str]:
    """How the request a backend saw differs from the one that was accepted; nothing if it is the same request."""
    sent = verdict.request
    assert sent is not None
    wrong = []

    def same(what: str, expected: object, got: object) -> None:
        if expected != got:
            wrong.append(f"{what}: expected {expected!r}, the backend got {got!r}")

    same("method", sent.method, seen.method)
    same("target", verdict.target, seen.target)
    same("body", bytes(sent.body)[:2000], bytes(seen.body)[:2000])
    same("length of body", len(sent.body), len(seen.body))
    same("fields", less(end_to_end(sent.fields), sent), end_to_end(seen.fields))
    same("Via", sent.values(b"via"), seen.values(b"via")[:-1])
    if not VIA.fullmatch(b"".join(seen.values(b"via")[-1:])):
        wrong.append(f"the proxy is not in Via: {seen.values(b'via')}")
    for name in (b"origin", b"referer"):
        same(name.decode(), [moved(value, verdict, proto, seen) for value in sent.values(name)], seen.values(name))
    same("version", 1, seen.version)
    same("number of Host lines", 1, len(seen.values(b"host")))
    same("X-Forwarded-For", [peer], seen.values(b"x-forwarded-for"))
    same("X-Forwarded-Proto", [proto], seen.values(b"x-forwarded-proto"))
    if verdict.host is not None:
        same("X-Forwarded-Host", [verdict.host], seen.values(b"x-forwarded-host"))
    same("Forwarded", [], seen.values(b"forwarded"))
    known = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
    strange = [n for n, _ in seen.fields if n.lower().startswith(b"x-forwarded-") and n.lower() not in known]
    same("other X-Forwarded fields", [], strange)
    offered = b"upgrade" in sent.tokens(b"connection") and b"websocket" in sent.tokens(b"upgrade")
    upgrading = {b"upgrade"} if offered and sent.version == 1 else set()
    same("Upgrade", [b"websocket"] if upgrading else [], seen.tokens(b"upgrade"))
    hops = {name.lower() for name, _ in seen.fields} & (HOP_BY_HOP - {b"connection", b"transfer-encoding"})
    same("hop-by-hop fields", set(), hops - upgrading)
    if extra := set(seen.tokens(b"connection")) - {b"close", b"keep-alive"} - upgrading:
        wrong.append(f"Connection options reached the backend: {extra}")
    allowed = {(n.lower(), v) for n, v in sent.trailers}
    if stray := [f for f in seen.trailers if (f[0].lower(), f[1]) not in allowed or f[0].lower() in UNSAFE_TRAILERS]:
        wrong.append(f"trailers that must not pass: {stray}")
    return wrong


VIA = re.compile(rb"1\.[01] vespa-[0-9a-f]{16}")


def less(fields: list[Field], sent: Request) -> list[Field]:
    """These fields, in which an OPTIONS request's Max-Forwards is one less."""
    if sent.method != b"OPTIONS":
        return fields
    counts = (n == MAX_FORWARDS and re.fullmatch(rb"[0-9]{1,18}", v) for n, v in fields)
    return [(n, b"%d" % (int(v) - 1)) if c else (n, v) for (n, v), c in zip(fields, counts, strict=True)]


def moved(value: bytes, verdict: Verdict, proto: bytes, seen: Request) -> bytes:
    """What an Origin or Referer has to be for the backend: its own, where it named the host that was asked."""
    url = re.fullmatch(rb"(?i:(https?))://([^/?#\\]*)(.*)", value)
    schemes = {proto, b"https"}  # TLS may have ended before the proxy
    if url is None or verdict.host is None or url[1].lower() not in schemes:
        return value
    port = b":443" if url[1].lower() == b"https" else b":80"
    if url[2].lower().removesuffix(port) != verdict.host.lower().removesuffix(port):
        return value
    return b"http://" + seen.values(b"host")[0] + url[3]


# Fields that would change the meaning of the head if a recipient merged the trailer section into it (RFC 9110 section
# 6.5.1).
UNSAFE_TRAILERS = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"authorization", b"x-forwarded-for", b"te")
)
