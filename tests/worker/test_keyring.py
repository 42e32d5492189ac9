"""Tests of `vespa.worker.keyring`."""

from __future__ import annotations

from base64 import b64encode
from typing import cast

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth
from vespa.vast.signature import message_url
from vespa.worker.keyring import Keyring
from vespa.worker.reporting_client import ReportingClient, ReportingError

OLD, NEW = (rsa.generate_private_key(65537, 2048) for _ in range(2))


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(key: rsa.RSAPrivateKey) -> Auth:
    def auth(signature: str) -> Auth:
        return Auth(1.0, 1_000_000, "e", 1, 1, signature, "http://1.2.3.4:5", b"1")

    return auth(b64encode(key.sign(message_url(auth("")), PKCS1v15(), SHA256())).decode())


class FakeSource:
    """Notes when it is asked; its responses are the test's to give."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []
        self.timeouts: list[float | None] = []
        self.cancelled = 0
        self.answer: bytes | None = None
        self.fails = False
        self.waiting: Deferred[bytes] | None = None

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    async def public_key(self, *, timeout: float | None = None) -> bytes:
        self.times.append(self.clock.seconds())
        self.timeouts.append(timeout)
        if self.fails:
            raise ReportingError("down")
        if self.answer is not None:
            return self.answer
        self.waiting = Deferred(self._cancel)
        return await self.waiting


class KeyringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.source = FakeSource(self.clock)
        self.keyring = Keyring(
            cast(ReportingClient, self.source), self.clock, "any", random=lambda: 0.0, retries=3, timeout=7.0
        )

    def start(self, answer: bytes | None = None) -> None:
        self.source.answer = answer
        self.keyring.startService()

    def refused(self, auth: Auth) -> tuple[int, str]:
        refusal = self.assertRaises(Refusal, self.keyring.verify, auth)
        return refusal.status, refusal.code

    def test_trouble(self) -> None:
        """The reason why there is no key is told until there is one."""
        self.assertEqual(self.keyring.trouble, "")
        self.source.fails = True
        self.start()
        self.assertEqual((self.keyring.has_key, self.keyring.trouble), (False, "down"))
        self.source.fails, self.source.answer = False, pem(OLD)
        self.clock.advance(2.0)
        self.assertEqual((self.keyring.has_key, self.keyring.trouble), (True, ""))

    def test_good_and_bad(self) -> None:
        """With a key, a good signature passes and a bad one is 401."""
        self.start(pem(OLD))
        self.assertTrue(self.keyring.has_key)
        self.keyring.verify(signed(OLD))
        self.assertEqual(self.refused(signed(NEW)), (401, "bad_signature"))
        self.assertEqual(self.source.timeouts, [7.0])
        self.assertEqual((self.keyring.bad_signatures, self.keyring.without_key), (1, 0))

    def test_fails_closed(self) -> None:
        """Without a key every request is 503, with a time to come back, and asks for nothing."""
        self.start()
        self.assertFalse(self.keyring.has_key)
        refusal = self.assertRaises(Refusal, self.keyring.verify, signed(OLD))
        self.assertEqual((refusal.status, refusal.code), (503, "no_key"))
        self.assertIsNotNone(refusal.retry_after)
        self.assertEqual((self.keyring.bad_signatures, self.keyring.without_key), (0, 1))
        self.assertEqual(len(self.source.times), 1)

    def test_never_gives_up(self) -> None:
        """Bursts of tries follow each other, further and further apart up to a minute, until there is a key."""
        self.source.fails = True
        self.start()
        self.clock.pump([0.5] * 1200)
        gaps = [after - before for before, after in zip(self.source.times, self.source.times[1:], strict=False)]
        self.assertEqual(gaps[:8], [1, 2, 5, 1, 2, 10, 1, 2])
        self.assertEqual(max(gaps), 60)
        self.assertEqual(gaps[-3:].count(60), 1)
        self.source.fails = False
        self.source.answer = pem(OLD)
        self.clock.advance(60.0)
        self.keyring.verify(signed(OLD))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_a_key(self) -> None:
        """A text that is no key counts as a failed try."""
        self.start(b"<html>")
        self.assertFalse(self.keyring.has_key)
        self.source.answer = pem(OLD)
        self.clock.advance(1.0)
        self.assertTrue(self.keyring.has_key)

    def test_changed_key(self) -> None:
        """After a bad signature the key is fetched again, and the new key's signatures are valid from then on."""
        self.start(pem(OLD))
        self.clock.advance(30.0)
        self.source.answer = pem(NEW)
        self.assertEqual(self.refused(signed(NEW)), (401, "bad_signature"))
        self.keyring.verify(signed(NEW))
        self.refused(signed(OLD))

    def test_refresh_is_rare(self) -> None:
        """However many bad signatures come, half a minute lies between two fetches."""
        self.start(pem(OLD))
        for _ in range(400):
            self.refused(BAD)
            self.clock.advance(0.25)
        self.assertEqual([time - 1000 for time in self.source.times], [0.0, 30.0, 60.0, 90.0])

    def test_refresh_is_alone(self) -> None:
        """While a fetch is under way there is no other, however long it takes."""
        self.start(pem(OLD))
        self.source.answer = None
        for _ in range(10):
            self.clock.advance(30.0)
            self.refused(BAD)
        self.assertEqual(len(self.source.times), 2)

    def test_old_key_stays(self) -> None:
        """A fetch that fails, or brings no key, leaves the old key in use; later bad signatures try again."""
        self.start(pem(OLD))
        for fails, answer in ((True, None), (False, b"<html>")):
            self.source.fails, self.source.answer = fails, answer
            self.clock.advance(30.0)
            self.refused(BAD)
            self.keyring.verify(signed(OLD))
        self.assertEqual(len(self.source.times), 3)

    def test_stop(self) -> None:
        """A stop cancels a fetch or a wait, at start or after a bad signature, and logs no error."""
        self.start()
        self.successResultOf(self.keyring.stopService())
        self.assertEqual(self.source.cancelled, 1)
        self.source.fails = True
        self.keyring.startService()
        self.successResultOf(self.keyring.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.source.fails = False
        self.start(pem(OLD))
        self.source.answer = None
        self.clock.advance(30.0)
        self.refused(BAD)
        self.successResultOf(self.keyring.stopService())
        self.assertEqual(self.source.cancelled, 2)
        self.clock.advance(30.0)
        self.refused(BAD)
        self.assertEqual(len(self.source.times), 4)


BAD = signed(NEW)
