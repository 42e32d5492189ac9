"""The autoscaler, which has several addresses: any one that listens will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.runtime.deadlines import sleep
from vespa.runtime.http_client import CallError, Response, call
from vespa.vast.signature import MIN_KEY_BITS

SILENT_SECONDS = 30.0
"""How long an address that timed out is asked only after all the others."""

_JSON = {"Content-Type": "application/json"}


class ReportingError(Exception):
    """No address gave what was asked for; says why, address by address."""


class ReportingClient:
    """
    Speaks to the first of several addresses that answers.

    They are tried in their order. One that timed out goes to the end of it for half a minute, so that a dead address
    costs one timeout now and then and not one for each report. Tokens and bodies are never logged.
    """

    log = Logger()

    def __init__(
        self,
        addresses: Sequence[str],
        http: HTTPClient,
        clock: IReactorTime,
        *,
        random: Callable[[], float],
        timeout: float = 10.0,
        max_retries: int = 3,
        retry_delay: float = 2.0,
    ) -> None:
        """`timeout` and `retry_delay` in seconds; `max_retries` is how many times all addresses are gone through."""
        self._addresses = [address.rstrip("/") for address in addresses]
        self._http = http
        self._clock = clock
        self._random = random
        self._timeout = timeout
        self._max_retries = max(1, max_retries)
        self._retry_delay = retry_delay
        self._silent_until: dict[str, float] = {}
        self._unwell: set[str] = set()

    async def post(self, path: str, body: bytes, *, skip: Iterable[str] = frozenset()) -> bool:
        """
        Tell a JSON body to the first address that takes it with a 2xx; whether one did.

        Addresses in `skip` are left out; where none is left there is nobody to tell and all is well. Fails with
        nothing of the network's: False says that all went wrong, round after round.
        """
        left_out = {address.rstrip("/") for address in skip}
        addresses = [address for address in self._addresses if address not in left_out]
        if not addresses:
            return True
        for attempt in range(self._max_retries):
            if attempt:
                await sleep(self._retry_delay * (1 + self._random() / 2), self._clock)
            for address in self._in_turn(addresses):
                try:
                    await self._ask(address, "POST", path, self._timeout, body)
                except ReportingError:
                    continue
                return True
        return False

    async def public_key(self, *, timeout: float | None = None) -> bytes:
        """
        The autoscaler's public key, in PEM, of the first address that gives one. One round, `timeout` s an address.

        Raises `ReportingError` when none does.
        """
        troubles = []
        for address in self._in_turn(self._addresses):
            try:
                response = await self._ask(address, "GET", "/pubkey/", timeout or self._timeout)
            except ReportingError as error:
                troubles.append(str(error))
                continue
            if response.whole and _is_rsa_key(response.body):
                return response.body
            troubles.append(f"{address}: what it sent is not an RSA public key of {MIN_KEY_BITS} bits or more")
        raise ReportingError("; ".join(troubles) or "there is no address to ask")

    def _in_turn(self, addresses: Iterable[str]) -> list[str]:
        now = self._clock.seconds()
        return sorted(addresses, key=lambda address: self._silent_until.get(address, now) > now)

    async def _ask(self, address: str, method: str, path: str, timeout: float, body: bytes | None = None) -> Response:
        """Ask one address. Raises `ReportingError` unless it answers 2xx."""
        headers = None if body is None else _JSON
        try:
            response = await call(
                self._http, self._clock, method, address + path, timeout=timeout, body=body, headers=headers
            )
        except CallError as error:
            if error.timed_out:
                self._silent_until[address] = self._clock.seconds() + SILENT_SECONDS
            self._note(address, path, str(error))
            raise ReportingError(f"{address}: {error}") from error
        self._silent_until.pop(address, None)
        if not response.success:
            self._note(address, path, f"answered {response.status}")
            raise ReportingError(f"{address}: answered {response.status}")
        self._note(address, path, None)
        return response

    def _note(self, address: str, path: str, trouble: str | None) -> None:
        """Log when a call begins to go wrong and when it goes well again, not each time."""
        url = address + path
        if trouble is not None and url not in self._unwell:
            self._unwell.add(url)
            self.log.warn("{url} does not work: {trouble}", url=url, trouble=trouble)
        elif trouble is None and url in self._unwell:
            self._unwell.discard(url)
            self.log.info("{url} works again", url=url)


def _is_rsa_key(pem: bytes) -> bool:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return isinstance(key, RSAPublicKey) and key.key_size >= MIN_KEY_BITS
