"""The certificate of an open port is loaded again, and warned of."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.proxy.certificate_renewal import renewal


class RenewalTests(SynchronousTestCase):
    def test_each_minute(self) -> None:
        """The certificate is loaded again each minute, also after a failure, and its expiry is looked at after that."""
        calls: list[str] = []

        class Certificate:
            def reload(self) -> None:
                calls.append("reload")
                if len(calls) == 3:
                    raise OSError("not now")

            def check(self) -> None:
                calls.append("check")

        clock, certificate = Clock(), Certificate()
        service: Any = renewal(clock, certificate, certificate, "a look")  # type: ignore[arg-type]
        service.startService()
        clock.pump([30.0] * 4)
        self.assertEqual(calls, ["reload", "check", "reload", "reload", "check"])
        self.successResultOf(service.stopService())
        clock.advance(120.0)
        self.assertEqual(len(calls), 5)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
