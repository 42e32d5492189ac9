"""Why a server of Vast's gave no response, and what to do about it."""

from __future__ import annotations

from urllib.parse import urlsplit

from twisted.internet.error import DNSLookupError

from vespa.http.interfaces import UpstreamError
from vespa.runtime.http_client import CallError
from vespa.vast.assignment import one_line


def unanswered(error: CallError, url: str, setting: str, timeout: float) -> tuple[str, str]:
    """The reason and the advice. `setting` is the name of the variable that holds `url`; `timeout` in seconds."""
    parts = urlsplit(url)
    place = parts.netloc
    cause = error.cause
    below = cause.__cause__ if cause is not None else None
    code = cause.code if isinstance(cause, UpstreamError) else ""
    text = one_line(str(error))
    if isinstance(cause, DNSLookupError) or isinstance(below, DNSLookupError):
        return f"the name {parts.hostname} is unknown", f"check {setting}, and the DNS of this machine"
    if isinstance(cause, UpstreamError) and cause.refused:
        return f"no server listens at {place}", f"check {setting}; if it is right, the service is down"
    if error.timed_out or code == "backend_timeout":
        advice = f"check {setting}, and whether a firewall keeps this machine from connecting to {place}"
        return f"{place} did not respond within {timeout:g} s", advice
    if code == "bad_certificate" or "certificate" in text or "VerificationError" in text:
        advice = f"check {setting}, and the date and the root certificates of this machine"
        return f"the certificate of {place} is not trusted ({text})", advice
    if "not TLS" in text or "wrong version number" in text:
        return f"{place} does not speak TLS", f"write http:// in {setting}"
    return f"{place} cannot be reached: {text}", f"check {setting}, and the network of this machine"
