"""Examines the autoscaler's addresses: which can be reached, the key of each, and how far the clocks are apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

from attrs import field, frozen

from vespa.checking.finding import Finding, failed, ok, warning
from vespa.checking.together import together
from vespa.checking.unanswered import unanswered
from vespa.runtime.http_client import BoundedClient, CallError, Response
from vespa.vast.signature import MIN_KEY_BITS
from vespa.worker.reporting_client import is_rsa_key

SKEW_SECONDS: Final = 5.0
"""Clocks that differ by more than this are reported. A Date field is up to a second old, and responses take time."""
_FINGERPRINT: Final = 16  # hexadecimal digits that are shown


@frozen
class FetchedKey:
    """A public key, and the address that it came from."""

    address: str
    pem: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The beginning of the SHA-256 of its text, to tell keys apart."""
        return hashlib.sha256(self.pem.strip()).hexdigest()[:_FINGERPRINT]


@frozen
class AddressResult:
    """
    One address: why it is of no use and what to do ("" and "" if it gave a key), the key, and the skew of its clock in
    seconds, positive if it is ahead; None if it did not tell.
    """

    address: str
    why: str = ""
    advice: str = ""
    key: FetchedKey | None = None
    seconds: float = 0.0
    skew: float | None = None


class AutoscalerCheck:
    """
    Fetches the key at each of `addresses`; `setting` is the name of the variable that holds them.

    `without` says what does not work if none of them gives its key.
    """

    def __init__(
        self, http: BoundedClient, addresses: Sequence[str], *, setting: str, without: str, timeout: float
    ) -> None:
        self._http = http
        self._addresses = [address.rstrip("/") for address in addresses]
        self._setting = setting
        self._without = without
        self._timeout = timeout

    async def run(self) -> tuple[list[Finding], list[FetchedKey]]:
        """A finding for each address and one for the clock, and the keys."""
        results = await together(self._ask(address) for address in self._addresses)
        keys = [each.key for each in results if each.key is not None]
        findings = [self._finding(each, others=bool(keys)) for each in results]
        return [*findings, *different_keys(keys), *clock_finding(results)], keys

    async def _ask(self, address: str) -> AddressResult:
        clock = self._http.clock
        began = clock.seconds()
        try:
            response = await self._http.request("GET", f"{address}/pubkey/", timeout=self._timeout)
        except CallError as error:
            why, advice = unanswered(error, address, self._setting, self._timeout)
            return AddressResult(address, why, advice, seconds=clock.seconds() - began)
        ended = clock.seconds()
        skew = skew_of(response, (began + ended) / 2)
        why = self._useless(response)
        if why:
            advice = f"check that {self._setting} names an autoscaler of Vast.ai"
            return AddressResult(address, why, advice, seconds=ended - began, skew=skew)
        return AddressResult(address, key=FetchedKey(address, response.body), seconds=ended - began, skew=skew)

    def _useless(self, response: Response) -> str:
        if not response.success:
            return f"/pubkey/ answered {response.status}, so there is no key"
        if not response.whole or not is_rsa_key(response.body):
            return f"/pubkey/ answered with something else than an RSA public key of {MIN_KEY_BITS} bits or more"
        return ""

    def _finding(self, result: AddressResult, *, others: bool) -> Finding:
        what = "autoscaler" if len(self._addresses) == 1 else f"autoscaler {result.address}"
        details = {"address": result.address, "seconds": result.seconds, "skew_seconds": result.skew}
        if result.key is not None:
            milliseconds = result.seconds * 1000
            why = f"{result.address} gave its key {result.key.fingerprint}… ({milliseconds:.0f} ms)"
            return ok(what, why, key=result.key.fingerprint, **details)
        why = f"{result.address}: {result.why}"
        if others:
            return warning(what, f"{why}; another address answers", result.advice, **details)
        return failed(what, f"{why}; {self._without}", result.advice, **details)


def skew_of(response: Response, now: float) -> float | None:
    """Seconds by which the server's clock is ahead of `now`, as its Date field says; None without one."""
    try:
        told = parsedate_to_datetime(response.header("Date")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return told + 0.5 - now  # Date has whole seconds


def clock_finding(results: Sequence[AddressResult]) -> list[Finding]:
    """Whether this machine's clock agrees with the nearest one of the autoscaler's; nothing if no response told."""
    told = [(abs(each.skew), each.skew, each.address) for each in results if each.skew is not None]
    if not told:
        return []
    size, skew, address = min(told)
    if size <= SKEW_SECONDS:
        return [ok("clock", f"agrees with the autoscaler's within {max(1.0, size):.0f} s", skew_seconds=skew)]
    side = "behind" if skew > 0 else "ahead of"
    why = f"this machine's clock is {size:.0f} s {side} that of {address}: reports carry wrong times, and certificates "
    advice = "synchronise the clock with NTP (in a container, the clock of its host)"
    return [warning("clock", f"{why}may count as expired or not yet valid", advice, skew_seconds=skew)]


def different_keys(keys: Sequence[FetchedKey]) -> list[Finding]:
    """A warning if the addresses do not give the same key."""
    if len({each.fingerprint for each in keys}) < 2:
        return []
    said = ", ".join(f"{each.fingerprint}… from {each.address}" for each in keys)
    advice = "name only addresses of one autoscaler in REPORT_ADDR: the worker uses the first key that it gets"
    return [warning("keys", f"the addresses have different keys: {said}", advice)]
