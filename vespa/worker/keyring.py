"""The autoscaler's public key, and the verification of requests with it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from vespa.protocol.refusal import Refusal
from vespa.runtime.backoff import Backoff
from vespa.runtime.deadlines import sleep
from vespa.runtime.services import CoroutineService
from vespa.vast.auth import Auth
from vespa.vast.signature import SignatureMode, Verifier
from vespa.worker.reporting_client import ReportingClient, ReportingError

REFRESH_SECONDS = 30.0  # the minimum time between two fetches of the key because of a bad signature


class Keyring(CoroutineService):
    """
    Fetches the key at start, in bursts of tries, until it has it: a worker may start before its autoscaler.

    Without a key it refuses all requests. A bad signature may mean that the key was changed, so it fetches the key
    again, at most once in half a minute. The old key stays in use until there is a new one.
    """

    def __init__(
        self,
        source: ReportingClient,
        clock: IReactorTime,
        mode: SignatureMode,
        *,
        random: Callable[[], float],
        retries: int = 3,
        timeout: float = 10.0,
    ) -> None:
        """`retries`: tries in one burst. `timeout`: seconds for one try at one address."""
        self._source = source
        self._clock = clock
        self._mode = mode
        self._retries = max(1, retries)
        self._timeout = timeout
        self._within_burst = Backoff(1.0, 2.0, 5.0, 0.5, random)
        self._between_bursts = Backoff(5.0, 2.0, 60.0, 0.5, random)
        self._pem = b""
        self._verifier: Verifier | None = None
        self._fetched_at = 0.0
        self.trouble = ""
        """Why the last fetch brought no key; "" if it did, or before the first."""
        self._refresh: Deferred[object] = succeed(None)
        self.bad_signatures = 0  # requests refused since the start: their signature was wrong
        self.without_key = 0  # requests refused since the start: there was no key yet

    @property
    def has_key(self) -> bool:
        """Whether signatures can be checked."""
        return self._verifier is not None

    def verify(self, auth: Auth) -> None:
        """Raises `Refusal` unless the signature is valid: 401 bad_signature, or 503 no_key while there is no key."""
        if self._verifier is None:
            self.without_key += 1
            raise Refusal(503, "no_key", "the worker has not fetched the autoscaler's public key yet", retry_after=5.0)
        if not self._verifier.verify(auth):
            self.bad_signatures += 1
            self._suspect_key()
            raise Refusal(401, "bad_signature", "the signature does not match the request")

    async def run(self) -> None:
        """Fetch the key, however long it takes."""
        while not await self._burst():
            wait = self._between_bursts.next()
            self.log.error("no public key yet, so all requests are refused; next try in {wait:.0f} s", wait=wait)
            await sleep(wait, self._clock)

    def stopService(self) -> Deferred[None]:
        """Stop fetching. Fires at once."""
        stopped = super().stopService()
        self._refresh.cancel()
        return stopped

    async def _burst(self) -> bool:
        self._within_burst.reset()
        for attempt in range(self._retries):
            if attempt:
                await sleep(self._within_burst.next(), self._clock)
            if await self._fetch():
                return True
        return False

    async def _fetch(self) -> bool:
        """Fetch once, and keep the result if it is a key. Returns whether it is."""
        self._fetched_at = self._clock.seconds()
        try:
            pem = await self._source.public_key(timeout=self._timeout)
            if pem != self._pem:
                self._verifier = Verifier(pem, self._mode)
                self._pem = pem
                self.log.info("a new public key is in use")
            self.trouble = ""
        except (ReportingError, ValueError) as error:
            self.trouble = str(error)
            self.log.warn("could not fetch the public key: {error}", error=error)
            return False
        return True

    def _suspect_key(self) -> None:
        if self.running and self._refresh.called and self._clock.seconds() - self._fetched_at >= REFRESH_SECONDS:
            self._refresh = Deferred.fromCoroutine(self._fetch()).addErrback(self._ended)
