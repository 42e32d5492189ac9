"""Calls the autoscaler, which has several addresses: the first that answers is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from twisted.logger import Logger

from vespa.runtime.deadlines import sleep
from vespa.runtime.http_client import BoundedClient, CallError, Response
from vespa.vast.signature import MIN_KEY_BITS

SILENT_SECONDS = 30.0  # for so long after a timeout, an address is tried only after all the others

_JSON = {"Content-Type": "application/json"}


class ReportingError(Exception):
    """No address returned the data. The message gives the reason for each address."""


def _without_slashes(addresses: Iterable[str]) -> list[str]:
    return [address.rstrip("/") for address in addresses]


@define(eq=False, slots=False)
class ReportingClient:
    """
    Calls the first of several addresses that answers.

    It tries them in order. After a timeout an address goes to the end of the order for half a minute, so that a dead
    address costs one timeout from time to time and not one for each report. It never logs tokens and bodies.

    `timeout` and `retry_delay` in seconds; `max_retries` is the number of rounds over all addresses. `troubles` are the
    URLs whose last call failed, each with the reason.
    """

    log = Logger()

    _addresses: list[str] = field(converter=_without_slashes)
    _http: BoundedClient
    _random: Callable[[], float]
    _timeout: float = 10.0
    _max_retries: int = 3
    _retry_delay: float = 2.0
    _silent_until: dict[str, float] = field(factory=dict, init=False)
    troubles: dict[str, str] = field(factory=dict, init=False)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, in the order in which they are tried while all of them answer."""
        return tuple(self._addresses)

    async def post(self, path: str, body: bytes, *, skip: Iterable[str] = frozenset()) -> bool:
        """
        Send a JSON body to the first address that answers with 2xx. Returns whether one did.

        Leaves out addresses in `skip`, and succeeds if none is left. Network errors are not raised: after the last
        round the result is False.
        """
        left_out = _without_slashes(skip)
        addresses = [address for address in self._addresses if address not in left_out]
        if not addresses:
            return True
        for attempt in range(max(1, self._max_retries)):
            if attempt:
                await sleep(self._retry_delay * (1 + self._random() / 2), self._http.clock)
            for address in self._in_turn(addresses):
                try:
                    await self._ask(address, "POST", path, self._timeout, body)
                except ReportingError:
                    continue
                return True
        return False

    async def public_key(self, *, timeout: float | None = None) -> bytes:
        """
        The autoscaler's public key, in PEM, from the first address that has one. One round, `timeout` s an address.

        Raises `ReportingError` if none has one.
        """
        troubles = []
        for address in self._in_turn(self._addresses):
            try:
                response = await self._ask(address, "GET", "/pubkey/", timeout or self._timeout)
            except ReportingError as error:
                troubles.append(str(error))
                continue
            if response.whole and is_rsa_key(response.body):
                return response.body
            troubles.append(f"{address}: the response is not an RSA public key of {MIN_KEY_BITS} bits or more")
        raise ReportingError("; ".join(troubles) or "no address of the autoscaler is set")

    def _in_turn(self, addresses: Iterable[str]) -> list[str]:
        now = self._http.clock.seconds()
        return sorted(addresses, key=lambda address: self._silent_until.get(address, now) > now)

    async def _ask(self, address: str, method: str, path: str, timeout: float, body: bytes | None = None) -> Response:
        """Call one address. Raises `ReportingError` unless it answers 2xx."""
        headers = None if body is None else _JSON
        try:
            response = await self._http.request(method, address + path, timeout=timeout, body=body, headers=headers)
        except CallError as error:
            if error.timed_out:
                self._silent_until[address] = self._http.clock.seconds() + SILENT_SECONDS
            self._note(address, path, str(error))
            raise ReportingError(f"{address}: {error}") from error
        self._silent_until.pop(address, None)
        if not response.success:
            self._note(address, path, f"answered {response.status}")
            raise ReportingError(f"{address}: answered {response.status}")
        self._note(address, path, None)
        return response

    def _note(self, address: str, path: str, trouble: str | None) -> None:
        """Log when a call begins to fail and when it succeeds again, not each time."""
        url = address + path
        if trouble is not None:
            known, self.troubles[url] = url in self.troubles, trouble
            if known:
                return
            self.log.warn("calls of {url} fail: {trouble}", url=url, trouble=trouble)
        elif self.troubles.pop(url, None) is not None:
            self.log.info("calls of {url} succeed again", url=url)


def is_rsa_key(pem: bytes) -> bool:
    """Whether this is the text of a key that can verify signatures."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return isinstance(key, RSAPublicKey) and key.key_size >= MIN_KEY_BITS
