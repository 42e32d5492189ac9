"""The renewal of a port's certificate while the port is open."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

from vespa.runtime.services import SurvivingLoop
from vespa.transport.certificates import Certificate, Expiry

CHECK_SECONDS: Final = 60.0


def renewal(clock: IReactorTime, certificate: Certificate, expiry: Expiry, what: str) -> SurvivingLoop:
    """
    A service that loads a certificate again if its files have changed, and warns before it expires.

    `what` names the certificate in the log.
    """

    def renew() -> None:
        certificate.reload()
        expiry.check()

    return SurvivingLoop(clock, CHECK_SECONDS, renew, what=what)
