"""Probes the backend's health, and explains what to do if the probe fails."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.error import DNSLookupError

from vespa.http.interfaces import UpstreamError
from vespa.runtime.http_client import BoundedClient, CallError, Response
from vespa.vast.assignment import one_line

OTHER_PATHS: Final = ("/", "/v2/health/ready", "/v1/models", "/api/version")
"""Health paths of other servers: the page of Gradio and ComfyUI, KServe v2, OpenAI's API, Ollama."""
OTHER_PATH_SECONDS: Final = 2.0  # the time limit for each of them


class ProbeError(Exception):
    """
    The backend is not healthy. The message says `why`, and what to do: `advice`. `refused`: the connection was refused.

    `status` is that of the response, None without one.
    """

    def __init__(self, why: str, advice: str = "", *, refused: bool = False, status: int | None = None) -> None:
        super().__init__(f"{why}: {advice}" if advice else why)
        self.why = why
        self.advice = advice
        self.refused = refused
        self.status = status


@frozen
class ProbeConfig:
    """Times in seconds, and the number of checks in a row that may fail."""

    retry_interval: float = 5.0  # between checks while the backend loads
    poll_interval: float = 10.0  # between checks when it has loaded
    consecutive_failures: int = 3  # the number of failed checks in a row after which a ready backend is errored
    initial_timeout: float = 1200.0
    """The time limit for loading without a stored figure: the backend may have to download a model."""
    resume_timeout: float = 300.0  # the time limit for loading with a stored figure


class HealthProbe:
    """
    Sends GET to one URL. Any 2xx means healthy.

    It needs a client of its own, without kept connections. A probe in the requests' pool would queue behind the
    requests, and a probe on a kept connection would not notice that a backend accepts no new ones.
    """

    def __init__(
        self, http: BoundedClient, url: str, *, timeout: float, unix_socket: str = "", prefix: str = ""
    ) -> None:
        """
        `timeout`: seconds for the whole exchange. `unix_socket`: the path of the socket, or "". `prefix`: the part of
        the URL that comes before every path.
        """
        parts = urlsplit(url)
        self._http = http
        self._url = url
        self._root = f"{parts.scheme}://{parts.netloc}{prefix}"
        self._path = url.removeprefix(self._root)
        self._place = unix_socket or parts.netloc
        self._host = parts.hostname
        self._tls = parts.scheme == "https"
        self._timeout = timeout
        self._other_path: str | None = None

    async def __call__(self) -> Response:
        """
        The response of a healthy backend. Otherwise raises `ProbeError`, within the timeout unless it is a 404.
        """
        try:
            response = await self._ask(self._url, self._timeout)
        except CallError as error:
            refused = isinstance(error.cause, UpstreamError) and error.cause.refused
            raise ProbeError(*self._unanswered(error), refused=refused) from error
        if response.status != 404:
            self._other_path = None
        if not response.success:
            more, advice = await self._advice(response)
            raise ProbeError(f"{self._path} answered {response.status}{more}", advice, status=response.status)
        return response

    async def _ask(self, url: str, timeout: float) -> Response:
        return await self._http.request("GET", url, timeout=timeout, headers={"Connection": "close"})

    async def _advice(self, response: Response) -> tuple[str, str]:
        """The rest of the reason, and what to do."""
        status = response.status
        if status == 404:
            if self._other_path is None:
                self._other_path = await self._find_other_path()
            if self._other_path:
                return f" but {self._other_path} answers", f"set VESPA_HEALTHCHECK_ENDPOINT={self._other_path}"
            return "", "set VESPA_HEALTHCHECK_ENDPOINT to a path that answers 2xx when the backend is well, or to off"
        if status in (401, 403):
            if "Authorization" in self._http.headers:
                return ": the backend rejects the key in VESPA_BACKEND_AUTHORIZATION", "correct it"
            return ": the backend requires a key", "set VESPA_BACKEND_AUTHORIZATION, such as `Bearer KEY`"
        if 300 <= status < 400:
            where = f" to {one_line(response.location)}" if response.location else ""
            return f", a redirect{where}", "set VESPA_HEALTHCHECK_ENDPOINT to a path that answers 2xx itself"
        if status in (405, 501):
            return " to GET", "set VESPA_HEALTHCHECK_ENDPOINT to a path that answers GET with 2xx"
        if status == 400 and not self._tls and b"HTTPS" in response.body.upper():
            return ": the port speaks TLS", "write https:// in VESPA_BACKEND_URL"
        if status >= 500:
            return ": the backend says that it is not ready", "look at its own log"
        return "", "any 2xx means healthy; VESPA_HEALTHCHECK_ENDPOINT sets the path"

    async def _find_other_path(self) -> str:
        """The first other path that answers 2xx, or "". Looked for once, not with each probe."""
        for path in OTHER_PATHS:
            if path != self._path:
                try:
                    response = await self._ask(self._root + path, min(self._timeout, OTHER_PATH_SECONDS))
                except CallError:
                    return ""
                if response.success:
                    return path
        return ""

    def _unanswered(self, error: CallError) -> tuple[str, str]:
        """Why there was no response, and what to do."""
        text, cause = str(error), error.cause
        code = cause.code if isinstance(cause, UpstreamError) else ""
        place = self._place
        below = cause.__cause__ if cause is not None else None
        if code == "backend_timeout":
            return f"no connection to {place} within {self._timeout:g} s", "check VESPA_BACKEND_URL"
        if error.timed_out:
            return (
                f"{self._path} did not answer within {self._timeout:g} s",
                "a slow health check needs a longer VESPA_HEALTHCHECK_TIMEOUT (SGLang's takes up to 20 s)",
            )
        if isinstance(cause, UpstreamError) and cause.refused:
            return f"no server listens at {place}", "the backend is not up yet, or VESPA_BACKEND_URL is wrong"
        if isinstance(below, DNSLookupError):
            return f"the name {self._host} is unknown", "check VESPA_BACKEND_URL"
        if self._tls:
            if code == "bad_certificate" or "certificate verify" in text or "VerificationError" in text:
                mismatch = "Mismatch" in text
                why = f"is not for {self._host}" if mismatch else "is not signed by a trusted root"
                what = "write the name that it is for in VESPA_BACKEND_URL" if mismatch else "set VESPA_BACKEND_CA_FILE"
                return f"the certificate of {place} {why}", what
            if "wrong version number" in text or "not TLS" in text:
                return f"{place} does not speak TLS", "write http:// in VESPA_BACKEND_URL"
            if code == "no_reply":
                return f"{place} closed the connection", "if it does not speak TLS, write http:// in VESPA_BACKEND_URL"
        elif code == "no_reply":
            return (
                f"{place} closed the connection without a response",
                "check that it speaks HTTP; if it speaks TLS, write https:// in VESPA_BACKEND_URL",
            )
        if code == "bad_reply":
            return f"the server at {place} does not speak HTTP ({text})", "check VESPA_BACKEND_URL"
        return f"{place} cannot be reached: {text}", "check VESPA_BACKEND_URL"
