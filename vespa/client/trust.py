"""The roots for workers' certificates: Vast's own, a simulator's, or those in a file of the user's."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_pem_x509_certificate

from vespa.runtime.http_client import BoundedClient, CallError
from vespa.runtime.single_flight import SingleFlight
from vespa.runtime.trust import roots_in, trust_roots
from vespa.transport.origin import Origin
from vespa.vast.addresses import CONSOLE

FINGERPRINT: Final = "A1A78F9E1A806C74DAD08B8F01F5F08C739FB70A5BFBB52D28923751C223451D"
"""The SHA-256 fingerprint of Vast's root, as Vast's own worker programs have it."""
ROOT_PATH: Final = "/static/jvastai_root.cer"
_FETCH_SECONDS: Final = 10.0


class TrustError(Exception):
    """There is no root to verify workers with. The text is for people and gives the reason."""


class WorkerTrust:
    """
    The roots for workers' certificates. No other root counts.

    They come from `ca_file` (PEM), if it is set. Otherwise Vast's console means the root that is part of Vespa, and any
    other console belongs to a simulator, which provides its root.
    """

    def __init__(self, *, ca_file: str, console_url: str, http: BoundedClient) -> None:
        """Raises OSError for a file that cannot be read, ValueError for one without a certificate."""
        self._url = console_url.rstrip("/")
        self._http = http
        self._roots: Any = trust_roots(ca_file)
        self._finding = SingleFlight(self._find)

    async def roots(self) -> object:
        """A Twisted trust root, for `Origin.endpoint`. Raises TrustError. A failure is tried again at the next call."""
        if self._roots is None:
            self._roots = await self._finding.join()
        return self._roots

    async def _find(self) -> Any:
        if Origin.parse(self._url) == Origin.parse(CONSOLE):
            return shipped_root()
        url = self._url + ROOT_PATH
        try:
            response = await self._http.request("GET", url, timeout=_FETCH_SECONDS)
        except CallError as error:
            raise TrustError(f"could not fetch the root certificate at {url}: {error}") from None
        if response.status != 200 or not response.whole:
            why = "the response is incomplete or too long" if response.status == 200 else f"status {response.status}"
            raise TrustError(f"could not fetch the root certificate at {url}: {why}")
        try:
            return roots_in(response.body, url)
        except ValueError as error:
            raise TrustError(str(error)) from None


def shipped_root(pem: bytes | None = None) -> Any:
    """The root certificate that is part of Vespa, or `pem` instead, for Twisted. Raises TrustError like `vast_root`."""
    return roots_in(vast_root(pem).public_bytes(Encoding.PEM), "vast_root.pem")


def vast_root(pem: bytes | None = None) -> Certificate:
    """
    The root certificate that is part of Vespa, or `pem` instead. Raises TrustError unless it is Vast's.

    The fingerprint shows whether the file was damaged or replaced.
    """
    try:
        if pem is None:
            pem = files("vespa.client").joinpath("vast_root.pem").read_bytes()
        root = load_pem_x509_certificate(pem)
        if root.fingerprint(SHA256()).hex().upper() != FINGERPRINT:
            raise TrustError("the root certificate in this installation is not Vast's: install Vespa again")
        return root
    except (OSError, ValueError) as error:
        raise TrustError(f"the root certificate in this installation cannot be read: {error}") from None
