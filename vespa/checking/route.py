"""Examines a pasted response of the autoscaler's `/route/`: would this worker accept the request that carries it?"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from vespa.accounting.workload import MAX_COST
from vespa.checking.autoscaler import FetchedKey
from vespa.checking.finding import Finding, failed, ok, skipped, warning
from vespa.config.worker import WorkerSettings
from vespa.protocol.refusal import Refusal
from vespa.vast.assignment import Assignment, BadRouteResponse, one_line, read_route_response
from vespa.vast.auth import Auth
from vespa.vast.signature import SignatureMode, Verifier
from vespa.vast.whole_envelope import unwrap_body

_FORMS: Final[dict[SignatureMode, str]] = {
    "url": "only the worker's address is signed",
    "full": "cost, endpoint, reqnum, request_idx and url are signed",
}
_PASTE: Final = "paste the whole body of the response of POST /route/, unchanged"


def check_route(content: bytes, keys: Sequence[FetchedKey], settings: WorkerSettings) -> list[Finding]:
    """The findings about a response: its form, its address, its signature. `keys` are those of the autoscaler."""
    try:
        assignment = read_route_response(_assignment_in(content.strip()), 0)
    except BadRouteResponse as error:
        return [failed("route", f"it is no response of /route/: {error}", _PASTE)]
    if not isinstance(assignment, Assignment):
        if not assignment.status:
            return [failed("route", "it is no response of /route/: it has neither a url nor a status", _PASTE)]
        why = f"it assigns no worker: request {assignment.request_idx} has to wait ({one_line(assignment.status)})"
        return [warning("route", why, "ask /route/ again with this request_idx until the response has a url")]
    try:
        auth = unwrap_body(b'{"auth_data":%b,"payload":{}}' % assignment.auth_data, settings.max_cost or MAX_COST).auth
    except Refusal as refusal:
        wrong = "; ".join(f"{name.removeprefix('auth_data.')} {text}" for name, text in (refusal.fields or {}).items())
        return [failed("route", f"the worker would answer {refusal.status} {refusal.code}: {wrong}", _PASTE)]
    said = f"request {auth.request_idx} for the endpoint {one_line(auth.endpoint)!r}, cost {auth.cost:g}"
    return [ok("route", said), _url(auth, settings), _signature(auth, keys, settings.signature)]


def _assignment_in(content: bytes) -> bytes:
    """The response itself, also where it was pasted inside of an envelope."""
    try:
        members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return content
    return bytes(members.get("auth_data", content))


def _url(auth: Auth, settings: WorkerSettings) -> Finding:
    signed, own = auth.url.rstrip("/"), settings.public_url
    shown = one_line(auth.url)
    if not own:
        why = f"it is for {shown}; this worker's own URL is not known here"
        advice = "set PUBLIC_IPADDR and VAST_TCP_PORT_<port>, as Vast.ai does"
        return skipped("route url", why, advice, signed=shown)
    if signed == own:
        return ok("route url", f"it is for this worker, {own}", signed=shown, own=own)
    why = f"it is signed for {shown}, but this worker's URL is {own}"
    if not settings.check_url:
        said = f"{why}; VESPA_CHECK_URL=false accepts that"
        return ok("route url", said, signed=shown, own=own)
    return failed(
        "route url", f"{why}: the worker answers 401 wrong_url", _difference(shown, own), signed=shown, own=own
    )


def _difference(signed: str, own: str) -> str:
    """What to do, by the part of the two URLs that differs."""
    try:
        theirs, ours = urlsplit(signed), urlsplit(own)
        port, same_host = theirs.port, theirs.hostname == ours.hostname
    except ValueError:
        return "the url is malformed: " + _PASTE
    if not same_host:
        return (
            "it may be for another worker of the endpoint: paste one for this worker. Otherwise correct PUBLIC_IPADDR, "
            "or set VESPA_CHECK_URL=false if another proxy stands before this worker"
        )
    if port != ours.port:
        return "correct VAST_TCP_PORT_<port> or VESPA_WORKER_PORT, so that the worker reports the port that is signed"
    if theirs.scheme != ours.scheme:
        return "correct VESPA_USE_SSL: the worker last reported another scheme than these settings make"
    return "the worker compares the whole URL: set VESPA_CHECK_URL=false if another proxy adds a path"


def _signature(auth: Auth, keys: Sequence[FetchedKey], mode: SignatureMode) -> Finding:
    what = "route signature"
    if not keys:
        return skipped(what, "not verified, because there is no key", "first let the worker fetch the autoscaler's key")
    for key in keys:
        for form, meaning in _FORMS.items():
            if Verifier(key.pem, form).verify(auth):
                details = {"form": form, "key": key.fingerprint}
                why = f"valid in the form {form} ({meaning}), by the key {key.fingerprint}… of {key.address}"
                if mode not in ("any", form):
                    why += (
                        f"; but VESPA_SIGNATURE={mode} does not accept this form: the worker answers 401 bad_signature"
                    )
                    return failed(what, why, f"set VESPA_SIGNATURE=any or {form}", **details)
                return ok(what, why, **details)
    tried = ", ".join(f"{key.fingerprint}… of {key.address}" for key in keys)
    why = f"invalid: neither the form url nor the form full matches, by the key {tried}: the worker answers 401 "
    return failed(what, f"{why}bad_signature", _cause(auth, keys), keys=[key.fingerprint for key in keys])


def _cause(auth: Auth, keys: Sequence[FetchedKey]) -> str:
    """What to do about a signature that is not valid."""
    try:
        size = len(b64decode(auth.signature, validate=True))
    except ValueError:
        return "the signature is not base64, so it was changed or cut: " + _PASTE
    if size % 64 or not size:
        return f"the signature has {size} bytes, which no RSA key makes, so it was cut: {_PASTE}"
    for change, changed in _variants(auth):
        if any(Verifier(key.pem, "any").verify(changed) for key in keys):
            return f"it is valid with {change}: a program on the way has changed that text, which must stay as it is"
    return (
        "another autoscaler, or an older key, signed it: make REPORT_ADDR name the autoscaler of the endpoint's "
        f"instance, and {_PASTE}"
    )


def _variants(auth: Auth) -> Iterator[tuple[str, Auth]]:
    """The same data as programs write it that parse it and write it again."""
    texts = {repr(float(auth.cost)), f"{auth.cost:g}"} | ({str(int(auth.cost))} if auth.cost.is_integer() else set())
    for text in sorted(texts - {auth.cost_lexeme.decode("ascii")}):
        yield f"the cost written as {text}", msgspec.structs.replace(auth, cost_lexeme=text.encode("ascii"))
    url = auth.url.removesuffix("/") if auth.url.endswith("/") else auth.url + "/"
    yield f"the url {one_line(url)}", msgspec.structs.replace(auth, url=url)
