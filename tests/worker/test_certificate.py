"""Laws of the certificate: only what was signed for our own key is ever stored."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.authority import LIFETIME, Authority
from tests.worker.blocking_server import Response, serve
from vespa.worker.certificate import LONGEST_RESPONSE, TRIES, CertificateError, ensure, main, post, request, usable

NOW = 1_800_000_000.0
URL = "https://console.invalid/sign/?instance_id=1"
ADDRESS = "198.51.100.7"


class CertificateTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.certificate = os.path.join(folder, "instance.crt")
        self.key = os.path.join(folder, "instance.key")
        self.authority = Authority(NOW)
        self.asked: list[str] = []
        self.slept: list[float] = []

    def sign(self, url: str, csr: bytes) -> bytes:
        return self.authority.sign(csr, ADDRESS)

    def ensure(self, fetch: Callable[[str, bytes], bytes], now: float = NOW) -> bool:
        def counted(url: str, csr: bytes) -> bytes:
            self.asked.append(url)
            return fetch(url, csr)

        return ensure(self.certificate, self.key, URL, now, fetch=counted, sleep=self.slept.append)

    def content(self) -> tuple[bytes, bytes]:
        return Path(self.certificate).read_bytes(), Path(self.key).read_bytes()

    def test_signed(self) -> None:
        """What the authority signs is stored with its key, which only its owner can read; nothing else is left."""
        self.assertTrue(self.ensure(self.sign))
        self.assertTrue(usable(*self.content(), NOW))
        self.assertEqual(os.stat(self.key).st_mode & 0o777, 0o600)
        self.assertEqual(len(os.listdir(os.path.dirname(self.key))), 2)
        self.assertEqual(self.asked, [URL])

    def test_kept(self) -> None:
        """A valid pair is kept, and no request is sent."""
        self.ensure(self.sign)
        before = self.content()
        self.assertFalse(self.ensure(self.sign))
        self.assertEqual((self.content(), len(self.asked)), (before, 1))

    def test_ended(self) -> None:
        """A certificate that has ended is signed anew."""
        self.ensure(self.sign)
        later = NOW + LIFETIME.total_seconds() + 1
        self.assertFalse(usable(*self.content(), later))
        self.authority = Authority(later)
        self.assertTrue(self.ensure(self.sign, later))
        self.assertTrue(usable(*self.content(), later))

    def test_error_page(self) -> None:
        """An error page is never stored, and what was there stays."""
        with open(self.certificate, "wb") as file:
            file.write(b"older")
        error = self.assertRaises(CertificateError, self.ensure, lambda url, csr: b"<html>502</html>")
        self.assertIn("<html>502", str(error))
        self.assertEqual(os.listdir(os.path.dirname(self.key)), ["instance.crt"])
        with open(self.certificate, "rb") as file:
            self.assertEqual(file.read(), b"older")

    def test_somebody_elses(self) -> None:
        """A certificate for another key is none."""
        other, _ = self.authority.issue(ADDRESS)[::-1]
        self.assertRaises(CertificateError, self.ensure, lambda url, csr: other)

    def test_tries_are_bounded(self) -> None:
        """A failure is tried again, with growing pauses, and not for ever."""

        def down(url: str, csr: bytes) -> bytes:
            raise OSError("no route")

        error = self.assertRaises(CertificateError, self.ensure, down)
        self.assertIn("no route", str(error))
        self.assertEqual(len(self.asked), TRIES)
        self.assertEqual(self.slept, sorted(set(self.slept)))

    def test_second_try(self) -> None:
        """One failure does not matter."""
        responses = [b"", b"nonsense"]
        self.assertTrue(self.ensure(lambda url, csr: responses.pop() if responses else self.sign(url, csr)))
        self.assertTrue(usable(*self.content(), NOW))

    def test_cannot_be_stored(self) -> None:
        """The error for a missing folder says that the certificate cannot be stored."""
        self.certificate = self.key = os.path.join(self.mktemp(), "nowhere", "x")
        self.assertIn("stored", str(self.assertRaises(CertificateError, self.ensure, self.sign)))


class RequestTests(SynchronousTestCase):
    def test_request(self) -> None:
        """The request is the one that Vast signs: its subject and its placeholder address."""
        csr = x509.load_pem_x509_csr(request(rsa.generate_private_key(65537, 2048)))
        self.assertTrue(csr.is_signature_valid)
        self.assertEqual(csr.subject.rfc4514_string(), "CN=pyworker.vast.ai,ST=CA,C=US")
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(name) for name in names.get_values_for_type(x509.IPAddress)], ["0.0.0.0"])


class PostTests(SynchronousTestCase):
    def test_post(self) -> None:
        """The request is the body, and the response's body is returned up to a limit."""
        asked: list[tuple[str, bytes]] = []

        def respond(target: str, content: bytes) -> Response:
            asked.append((target, content))
            return 200, b"x" * (LONGEST_RESPONSE + 1), {}

        self.assertEqual(post(serve(self, respond) + "/sign?instance_id=1", b"csr"), b"x" * LONGEST_RESPONSE)
        self.assertEqual(asked, [("/sign?instance_id=1", b"csr")])

    def test_error(self) -> None:
        """A status that is not 2xx is an error with this status."""
        error = self.assertRaises(OSError, post, serve(self, lambda *_: (503, b"", {})), b"csr")
        self.assertIn("503", str(error))


class MainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.certificate = os.path.join(self.folder, "instance.crt")
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.asked: list[str] = []

    def main(self, url: str, **environ: str) -> int:
        """Run the command with these variables besides those of a worker with TLS on Vast."""
        on_vast = {
            "CONTAINER_ID": "7",
            "VESPA_USE_SSL": "true",
            "VESPA_SSL_CERT_FILE": self.certificate,
            "VESPA_SSL_KEY_FILE": os.path.join(self.folder, "instance.key"),
            "VESPA_SIGN_URL": url,
            "VESPA_SIGN_TRIES": "1",
        }
        self.patch(os, "environ", {**on_vast, **environ})
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        return main([])

    def sign(self, target: str, csr: bytes) -> Response:
        self.asked.append(target)
        return 200, Authority(time.time()).sign(csr, ADDRESS), {}

    def test_signed(self) -> None:
        """The instance's id is in the request, and a second run keeps the certificate."""
        url = serve(self, self.sign)
        self.assertEqual((self.main(url), self.main(url)), (0, 0))
        self.assertEqual(self.asked, ["/?instance_id=7"])
        self.assertEqual(self.output.getvalue(), f"{self.certificate}: signed anew\n{self.certificate}: still good\n")

    def test_not_needed(self) -> None:
        """Without TLS, or without an instance, there is nothing to sign."""
        self.assertEqual(self.main("http://127.0.0.1:1", VESPA_USE_SSL="false"), 0)
        self.assertEqual(self.main("http://127.0.0.1:1", CONTAINER_ID=""), 0)
        self.assertEqual((self.output.getvalue(), self.errors.getvalue()), ("", ""))

    def test_no_server(self) -> None:
        """A server that speaks no HTTP, and a malformed URL, are reasons for no certificate like any other."""
        for url in (serve(self, lambda *_: (0, b"?\r\n\r\n", {})), "http://[/", "http://a:b/"):
            self.assertEqual(self.main(url), 1, url)
        self.assertEqual(self.errors.getvalue().count("signed no certificate"), 3)

    def test_refused(self) -> None:
        """Without a certificate the exit code is 1, and the error has the reason."""
        url = serve(self, lambda *_: (403, b"", {}))
        self.assertEqual(self.main(url), 1)
        self.assertIn("signed no certificate in 1 tries: HTTP Error 403", self.errors.getvalue())
        self.assertFalse(os.path.exists(self.certificate))
