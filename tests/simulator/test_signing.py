"""Tests of `vespa.simulator.signing`."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from twisted.trial.unittest import SynchronousTestCase

from vespa.simulator.signing import Signer, body_envelope, query_envelope

SIGNER = Signer()
URL = "http://10.0.0.1:3000"


def verifies(text: str, signature: str) -> bool:
    key = load_pem_public_key(SIGNER.pem)
    assert isinstance(key, RSAPublicKey)
    try:
        key.verify(base64.b64decode(signature, validate=True), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


class SignerTests(SynchronousTestCase):
    def test_key(self) -> None:
        """The key is RSA of 2048 bits, published as PEM."""
        key = load_pem_public_key(SIGNER.pem)
        assert isinstance(key, RSAPublicKey)
        self.assertEqual(key.key_size, 2048)

    def test_url(self) -> None:
        """The form `url` signs the URL alone, in JSON with four spaces."""
        auth = SIGNER.assignment(URL, cost=5)
        self.assertTrue(verifies(f'{{\n    "url": "{URL}"\n}}', auth["signature"]))

    def test_full(self) -> None:
        """The form `full` signs five fields in the order of their names, numbers as they are written."""
        auth = SIGNER.assignment(URL, cost=100.0, endpoint="é", reqnum=3, request_idx=4, signs="full")
        text = (
            '{\n    "cost": 100.0,\n    "endpoint": "\\u00e9",\n    "reqnum": 3,\n'
            f'    "request_idx": 4,\n    "url": "{URL}"\n}}'
        )
        self.assertTrue(verifies(text, auth["signature"]))
        self.assertFalse(verifies(text.replace("100.0", "100"), auth["signature"]))


class EnvelopeTests(SynchronousTestCase):
    def test_payload_bytes(self) -> None:
        """A payload of bytes stands in the envelope as it is."""
        payload = b'{"b": 1.50, "a":  "\\u00e9"}'
        envelope = body_envelope({"url": URL}, payload)
        self.assertTrue(envelope.endswith(b'"payload": ' + payload + b"}"))
        self.assertEqual(
            json.loads(envelope), {"auth_data": {"url": URL}, "session_id": None, "payload": {"b": 1.5, "a": "é"}}
        )

    def test_payload_value(self) -> None:
        """Any other payload is written as JSON, and a session's id is carried."""
        self.assertEqual(
            json.loads(body_envelope({}, [1, None], "abc")),
            {"auth_data": {}, "session_id": "abc", "payload": [1, None]},
        )

    def test_query(self) -> None:
        """A query carries every field under `serverless_`, numbers with their lexeme and extra keys left out."""
        auth = {**SIGNER.assignment(URL, cost=100.0, endpoint="a b&c"), "__request_id": "x"}
        given = {name: values[0] for name, values in parse_qs(query_envelope(auth)).items()}
        self.assertEqual(
            given,
            {
                "serverless_cost": "100.0",
                "serverless_endpoint": "a b&c",
                "serverless_reqnum": "1",
                "serverless_request_idx": "1",
                "serverless_signature": auth["signature"],
                "serverless_url": URL,
            },
        )
