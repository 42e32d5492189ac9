"""Laws of a certificate's end: said a week before, once a day, and as an error when it came."""

from __future__ import annotations

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from vespa.transport.certificates import DAY_SECONDS, Certificate, Expiry

ENDS = datetime.datetime(2030, 5, 9, 12, 0, tzinfo=datetime.timezone.utc)


def write(path: str, ends: datetime.datetime) -> None:
    """A certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - datetime.timedelta(days=90))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    with open(path, "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        file.write(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


class ExpiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        write(self.path, ENDS)
        self.certificate = Certificate(self.path, self.path)
        self.now = 0.0
        self.expiry = Expiry(self.certificate, lambda: self.now)
        self.said: list[tuple[object, str]] = []
        observe_log(self, self.note)

    def note(self, event: dict[str, object]) -> None:
        if event.get("log_namespace") == "vespa.transport.certificates.Expiry":
            self.said.append((event["log_level"], str(event["log_format"]).format(**event)))

    def look(self, days_before: float) -> list[tuple[object, str]]:
        self.now = ENDS.timestamp() - days_before * DAY_SECONDS
        self.expiry.check()
        said, self.said = self.said, []
        return said

    def test_far_off(self) -> None:
        """A certificate that is valid for more than a week is not logged."""
        self.assertEqual(self.look(7.01), [])

    def test_near(self) -> None:
        """From a week before it is a warning with the file and the day, once a day."""
        ((level, text),) = self.look(6.9)
        self.assertEqual(level, LogLevel.warn)
        self.assertIn(f"{self.path} expires on 2030-05-09 12:00 UTC", text)
        self.assertEqual(self.look(6.8), [])
        self.assertEqual(len(self.look(5.9)), 1)

    def test_over(self) -> None:
        """One that expired is an error."""
        ((level, text),) = self.look(-0.1)
        self.assertEqual(level, LogLevel.error)
        self.assertIn("expired on 2030-05-09 12:00 UTC", text)
        self.assertEqual(self.look(-0.2), [])

    def test_problem(self) -> None:
        """The same for the status: nothing, a warning from a week before, an error once it has expired."""
        ends = ENDS.timestamp()
        self.assertIsNone(self.certificate.problem(ends - 7.01 * DAY_SECONDS))
        self.assertEqual(
            self.certificate.problem(ends - 6.9 * DAY_SECONDS, "certificate of a port"),
            (
                "warning",
                f"The certificate of a port {self.path} expires on 2030-05-09 12:00 UTC: replace it before then.",
            ),
        )
        self.assertEqual(
            self.certificate.problem(ends),
            ("error", f"The certificate {self.path} expired on 2030-05-09 12:00 UTC, and clients refuse it."),
        )
        self.certificate.ends = float("inf")  # OpenSSL took it, but its dates are unknown
        self.assertIsNone(self.certificate.problem(ends))

    def test_replaced(self) -> None:
        """After a certificate was replaced its own end counts."""
        self.assertEqual(len(self.look(1)), 1)
        write(self.path, ENDS + datetime.timedelta(days=90))
        self.assertTrue(self.certificate.reload())
        self.assertEqual(self.look(0.5), [])
