"""Asking the backend whether it is well."""

from __future__ import annotations

from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime

from vespa.http.connection import UpstreamError
from vespa.net.calls import CallError, call


class ProbeError(Exception):
    """The backend is not well; says why. `refused`: it is not even there to be asked."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class HealthProbe:
    """
    Asks one URL, and takes any 2xx for good health.

    Give it a client of its own, with no kept connections: a probe that shares the traffic's pool queues behind the
    traffic, and one on a kept connection finds a backend well that takes no new ones.
    """

    def __init__(
        self, http: HTTPClient, url: str, clock: IReactorTime, *, timeout: float, authorization: str = ""
    ) -> None:
        """`timeout`: seconds for the whole exchange. `authorization`: the header's value, "" for none."""
        self._http = http
        self._url = url
        self._clock = clock
        self._timeout = timeout
        self._headers = {"Connection": "close"}
        if authorization:
            self._headers["Authorization"] = authorization

    async def __call__(self) -> None:
        """Ends when the backend is well. Raises `ProbeError`, within the timeout, when it is not."""
        try:
            answer = await call(self._http, self._clock, "GET", self._url, timeout=self._timeout, headers=self._headers)
        except CallError as error:
            refused = isinstance(error.cause, UpstreamError) and error.cause.refused
            raise ProbeError(f"health check failed: {error}", refused=refused) from error
        if not answer.success:
            raise ProbeError(f"health check answered {answer.status}")
