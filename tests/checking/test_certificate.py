"""Tests of `vespa.checking.certificate`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.authority import LIFETIME, Authority
from tests.system.certificates import Pair
from vespa.checking.certificate import certificate_files, check_admin_certificate, check_certificate
from vespa.checking.finding import Finding
from vespa.config.worker import WorkerSettings

DAY = 86400.0
NOW = time.time()
ADDRESS = "203.0.113.7"


class FilesTests(SynchronousTestCase):
    def test_files(self) -> None:
        """The files are those of the settings, or those of the endpoint string; without TLS there are none."""
        both: dict[str, Any] = {"ssl_cert_file": "/a.crt", "ssl_key_file": "/a.key"}
        self.assertEqual(certificate_files(WorkerSettings(use_ssl=True, **both)), ("/a.crt", "/a.key"))
        for listen, expected in (
            ("ssl:1:privateKey=k:certKey=c", ("c", "k")),
            ("ssl:1:privateKey=k", ("k", "k")),
            ("ssl:1", ("server.pem", "server.pem")),
            ("tcp:1", None),
        ):
            self.assertEqual(certificate_files(WorkerSettings(use_ssl=True, listen=listen, **both)), expected)
        self.assertIsNone(certificate_files(WorkerSettings(**both)))


class CertificateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.authority = Authority(NOW)
        self.root: x509.Certificate | None = x509.load_pem_x509_certificate(self.authority.root)
        self.write(*self.authority.issue(ADDRESS))

    def write(self, key: bytes, certificate: bytes) -> None:
        Path(self.folder, "a.key").write_bytes(key)
        Path(self.folder, "a.crt").write_bytes(certificate)

    def check(self, now: float = NOW, **more: Any) -> list[Finding]:
        values: dict[str, Any] = {
            "use_ssl": True,
            "ssl_cert_file": os.path.join(self.folder, "a.crt"),
            "ssl_key_file": os.path.join(self.folder, "a.key"),
            "public_ipaddr": ADDRESS,
            **more,
        }
        return check_certificate(WorkerSettings(**values), now, self.root)

    def test_well(self) -> None:
        """A good certificate is described: its key, its days, its signer."""
        dates, signer = self.check()
        self.assertEqual((dates.state, signer.state), ("ok", "ok"))
        self.assertIn("belongs to its key", dates.why)
        self.assertRegex(dates.why, r"expires on .* UTC, in (29|30) days")
        self.assertAlmostEqual(dates.details["days_left"], LIFETIME.days, delta=0.2)

    def test_admin_port(self) -> None:
        """The certificate of an admin port with TLS has a line, with its dates alone; others have none."""

        def check(now: float, listen: str) -> list[tuple[str, str, str, str]]:
            found = check_admin_certificate(listen, now, "VESPA_ADMIN_LISTEN")
            return [(each.what, each.state, each.why, each.advice) for each in found]

        key, certificate = (os.path.join(self.folder, name) for name in ("a.key", "a.crt"))
        listen = f"ssl:9464:privateKey={key}:certKey={certificate}"
        for days, state, said, advised in (
            (0.0, "ok", "belongs to its key and expires on", ""),
            (LIFETIME.days - 3.0, "warning", "expires on", "replace it before then: write a new one and its key"),
            (LIFETIME.days + 3.0, "failed", "clients refuse it", "write a new one and its key to the same files"),
        ):
            ((what, found, why, advice),) = check(NOW + days * DAY, listen)
            self.assertEqual((what, found), ("admin certificate", state))
            self.assertIn(said, why)
            self.assertIn(advised, advice)
        ((_, state, why, advice),) = check(NOW, "ssl:9464:privateKey=/no/such.key:certKey=/no/such.crt")
        self.assertEqual(state, "failed")
        self.assertIn("/no/such.crt cannot be read", why)
        self.assertIn("VESPA_ADMIN_LISTEN", advice)
        for listen in ("tcp:9464:interface=127.0.0.1", "unix:/run/a.sock", ""):
            self.assertEqual(check(NOW, listen), [])

    def test_no_tls(self) -> None:
        """Without TLS none is needed."""
        (found,) = self.check(use_ssl=False)
        self.assertEqual(found.state, "ok")

    def test_expired(self) -> None:
        """An expired one fails; the line says since when."""
        found = self.check(NOW + 33.1 * DAY)[0]
        self.assertEqual(found.state, "failed")
        self.assertIn("expired on", found.why)
        self.assertIn("3 days ago: clients refuse it", found.why)
        self.assertIn("start_server.sh", found.advice)

    def test_expires_soon(self) -> None:
        """One that expires within a week is a warning."""
        for days, words in ((28.7, "in 1 day"), (29.5, "in less than a day"), (26.9, "in 3 days")):
            found = self.check(NOW + days * DAY)[0]
            self.assertEqual(found.state, "warning")
            self.assertIn(words, found.why)

    def test_not_yet(self) -> None:
        """One that is not valid yet fails, and the clock may be the cause."""
        found = self.check(NOW - 10 * DAY)[0]
        self.assertEqual((found.state, "clock" in found.advice), ("failed", True))

    def test_other_key(self) -> None:
        """A key that is not the certificate's fails."""
        key, _ = self.authority.issue(ADDRESS)
        _, certificate = self.authority.issue(ADDRESS)
        self.write(key, certificate)
        (found,) = self.check()
        self.assertEqual((found.state, "does not belong to" in found.why), ("failed", True))

    def test_missing(self) -> None:
        """A missing file fails; a missing certificate can be had by start_server.sh."""
        (found,) = self.check(ssl_cert_file="/nowhere.crt")
        self.assertIn("/nowhere.crt cannot be read", found.why)
        self.assertIn("start_server.sh", found.advice)
        (found,) = self.check(ssl_key_file="/nowhere.key")
        self.assertIn("VESPA_SSL_KEY_FILE", found.advice)

    def test_other_address(self) -> None:
        """A certificate for another address than the public one is a warning."""
        found = self.check(public_ipaddr="203.0.113.8")[1]
        self.assertEqual(found.state, "warning")
        self.assertIn(f"it is for {ADDRESS}, not for PUBLIC_IPADDR=203.0.113.8", found.why)
        self.assertEqual(len(self.check(public_ipaddr="a-name.test")), 2)

    def test_other_root(self) -> None:
        """A certificate of another authority is a warning, unless the root is not known."""
        self.root = x509.load_pem_x509_certificate(Authority(NOW).root)
        signer = self.check()[1]
        self.assertEqual((signer.state, "not by Vast.ai's root" in signer.why), ("warning", True))
        self.root = None
        self.assertEqual(self.check()[1].why, "Simulated root")

    def test_self_signed(self) -> None:
        """A self-signed one is a warning."""
        pair = Pair(self.folder)
        found = self.check(ssl_cert_file=pair.cert_file, ssl_key_file=pair.key_file, public_ipaddr="127.0.0.1")
        self.assertEqual([each.state for each in found], ["warning", "warning"])  # it expires tomorrow, too
        self.assertIn("self-signed", found[1].why)
