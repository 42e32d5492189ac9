from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import frames
from tests.vast.envelopes import an_auth, auth_data
from vespa.vast.auth import Auth
from vespa.vast.signature import SignatureMode, Verifier, message_full, message_url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@cache
def private_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of the autoscaler's kind, made once."""
    return rsa.generate_private_key(65537, bits)


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """What the autoscaler publishes of a key."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(auth: Auth, message: Callable[[Auth], bytes] = message_url, hashing: HashAlgorithm | None = None) -> Auth:
    """The same, signed by the autoscaler in one of the forms."""
    signature = private_key().sign(message(auth), padding.PKCS1v15(), hashing or SHA256())
    return evolve(auth, signature=b64encode(signature).decode())


def verifier(mode: SignatureMode = "any", cache_size: int = 4096) -> Verifier:
    """A verifier of that key."""
    return Verifier(pem_of(private_key()), mode, cache_size)


class MessageTests(SynchronousTestCase):
    @given(auth_data)
    def test_as_json_writes_it(self, data: dict[str, object]) -> None:
        """Both texts are what the autoscaler's json.dumps writes, letter for letter."""
        auth = an_auth(**data)
        whole = {name: data[name] for name in ("cost", "endpoint", "reqnum", "request_idx", "url")}
        self.assertEqual(message_full(auth), json.dumps(whole, indent=4, sort_keys=True).encode())
        self.assertEqual(message_url(auth), json.dumps({"url": data["url"]}, indent=4, sort_keys=True).encode())

    def test_lexemes(self) -> None:
        """Numbers stand in the text as they arrived."""
        for lexeme in (b"1.50", b"15e-1", b'"1.5"'):
            auth = evolve(an_auth(cost=1.5), cost_lexeme=lexeme)
            self.assertIn(b'\n    "cost": %s,\n' % lexeme, message_full(auth))


class VerifierTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Each mode takes its own form, and "any" takes both."""
        by_url, in_full = signed(an_auth(), message_url), signed(an_auth(), message_full)
        verdicts = {
            mode: (verifier(mode).verify(by_url), verifier(mode).verify(in_full)) for mode in ("any", "full", "url")
        }
        self.assertEqual(verdicts, {"any": (True, True), "full": (False, True), "url": (True, False)})

    def test_every_field_counts_in_full(self) -> None:
        """In the full form nothing that is signed can be changed, and the signature of one request is no other's."""
        auth = signed(an_auth(cost=1.5), message_full)
        judge = verifier()
        self.assertTrue(judge.verify(auth))
        for change in (
            {"endpoint": "other"},
            {"url": "https://192.0.2.2:40000"},
            {"cost_lexeme": b"1.50"},
            {"reqnum": 8},
            {"request_idx": 43},
        ):
            self.assertFalse(judge.verify(evolve(auth, **change)))

    def test_url_alone(self) -> None:
        """In the url form another worker's URL does not pass, and all else is not covered."""
        auth = signed(an_auth())
        judge = verifier()
        self.assertTrue(judge.verify(evolve(auth, reqnum=8, cost_lexeme=b"9")))
        self.assertFalse(judge.verify(evolve(auth, url="https://192.0.2.2:40000")))

    def test_one_text_for_a_signature(self) -> None:
        """A good signature in any other base64 text than the canonical one is bad, and so is a changed one."""
        auth = signed(an_auth(url="https://192.0.2.1:40001"))
        text = auth.signature
        raw = b64decode(text)
        # The last letter before the padding carries four bits that mean nothing.
        twin = text[:-3] + ALPHABET[ALPHABET.index(text[-3]) ^ 1] + "=="
        self.assertEqual(b64decode(twin), raw)
        others = [
            twin, "", "=", text[:-1], text[:-2], text[:-4], text + "\n", " " + text, text[:9] + "\n" + text[9:],
            text + "====", text * 2, "A" * len(text), "é" + text[1:], "\ud800", b64encode(b"\xff" * 256).decode(),
            urlsafe_b64encode(b"\xff" + raw[1:]).decode(), b64encode(b"\0" + raw).decode(),
            b64encode(raw + b"\0").decode(), b64encode(raw[::-1]).decode(),
        ]  # fmt: skip
        judge = verifier()
        for _ in range(2):
            for other in others:
                self.assertFalse(judge.verify(evolve(auth, signature=other)), other)
            self.assertTrue(judge.verify(auth))

    def test_other_hash_or_padding(self) -> None:
        """Only SHA-256 with PKCS #1 v1.5 will do."""
        self.assertFalse(verifier().verify(signed(an_auth(), hashing=SHA512())))
        pss = private_key().sign(message_url(an_auth()), padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        self.assertFalse(verifier().verify(an_auth(signature=b64encode(pss).decode())))

    @given(st.lists(st.integers(min_value=0, max_value=11), max_size=40), st.integers(min_value=0, max_value=3))
    def test_memory_changes_no_verdict(self, order: list[int], cache_size: int) -> None:
        """However many signatures are remembered, each request gets the verdict it would get without memory."""
        judges = {mode: verifier(mode, cache_size) for mode in ("any", "full", "url")}
        for number in order:
            auth, expected = self.requests()[number]
            for mode, judge in judges.items():
                self.assertEqual(judge.verify(auth), expected[mode])

    @staticmethod
    @cache
    def requests() -> list[tuple[Auth, dict[str, bool]]]:
        """Requests signed in either form, and forgeries made of them, with the verdict of each mode."""
        found: list[tuple[Auth, dict[str, bool]]] = []
        for number in range(3):
            plain = an_auth(reqnum=number, url=f"https://192.0.2.{number}:1")
            for form, mode in ((message_url, "url"), (message_full, "full")):
                auth = signed(plain, form)
                found.append((auth, {"any": True, "url": mode == "url", "full": mode == "full"}))
                found.append((evolve(auth, url="https://192.0.2.9:1"), {"any": False, "url": False, "full": False}))
        return found


class FlatTests(SynchronousTestCase):
    def test_one_call(self) -> None:
        """A signature that was found good lately is found so in one call."""
        check = verifier()
        auth = signed(an_auth())
        self.assertTrue(check.verify(auth))
        self.assertEqual(len(frames(check.verify, auth)), 1)


class KeyTests(SynchronousTestCase):
    def test_text_or_bytes(self) -> None:
        """A key's text may be either."""
        self.assertTrue(Verifier(pem_of(private_key()).decode(), "any").verify(signed(an_auth())))

    def test_unfit_keys(self) -> None:
        """What is no RSA key of 2048 bits or more is a ValueError."""
        for pem in (b"", b"<html>", pem_of(private_key(1024)), pem_of(ec.generate_private_key(ec.SECP256R1())), "é"):
            self.assertRaises(ValueError, Verifier, pem, "any")

    def test_unknown_mode(self) -> None:
        """An unknown mode is a ValueError and not a verifier that lets all pass."""
        self.assertRaises(ValueError, Verifier, pem_of(private_key()), "none")
