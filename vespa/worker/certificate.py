"""This worker's certificate: its own key, signed by Vast, and stored only if the response is a certificate for it.

python -m vespa.worker.certificate
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import ipaddress
import os
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from vespa.config.worker_reading import read
from vespa.runtime.files import replace_file

SIGN_URL = "https://console.vast.ai/api/v0/sign_cert/"
TRIES = 5
TIMEOUT_SECONDS = 30.0
LONGEST_RESPONSE = 64 * 1024

Fetch = Callable[[str, bytes], bytes]


class CertificateError(Exception):
    """There is no certificate. The text gives the reason."""


def ensure(
    certificate_path: str,
    key_path: str,
    url: str,
    now: float,
    *,
    fetch: Fetch,
    sleep: Callable[[float], None],
    tries: int = TRIES,
) -> bool:
    """Make sure that a certificate and its key are in place; `url` signs one, `now` is in epoch seconds.

    Returns False if a valid pair was already there. Raises CertificateError after `tries`, without changing the
    files.
    """
    if usable(_read(certificate_path), _read(key_path), now):
        return False
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate_pem = _signed(request(key), key_pem, url, now, fetch, sleep, tries)
    try:
        # Not atomic. But the next start finds a certificate without its key, and requests a new one.
        replace_file(key_path, key_pem, 0o600)
        replace_file(certificate_path, certificate_pem, 0o644)
    except OSError as error:
        raise CertificateError(f"the certificate could not be stored: {error}") from error
    return True


def request(key: rsa.RSAPrivateKey) -> bytes:
    """The signing request for `key`, PEM."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.COMMON_NAME, "pyworker.vast.ai"),
        ]
    )
    # Vast replaces this address with the worker's.
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("0.0.0.0"))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
    builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def usable(certificate_pem: bytes, key_pem: bytes, now: float) -> bool:
    """Whether these are a certificate and its own key, and the certificate has not expired."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, None)
        same = _public_bytes(certificate.public_key()) == _public_bytes(key.public_key())
    except (ValueError, TypeError):
        return False
    at = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    return same and at < certificate.not_valid_after_utc


def _signed(
    csr: bytes, key_pem: bytes, url: str, now: float, fetch: Fetch, sleep: Callable[[float], None], tries: int
) -> bytes:
    why = ""
    for attempt in range(tries):
        if attempt:
            sleep(2.0**attempt)
        try:
            body = fetch(url, csr)
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            continue
        if usable(body, key_pem, now):
            return body
        why = f"the response is not a certificate for this worker's key; it begins with {body[:80]!r}"
    raise CertificateError(f"Vast signed no certificate in {tries} tries: {why}")


def _public_bytes(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST_RESPONSE)
    except OSError:
        return b""


def post(url: str, content: bytes) -> bytes:
    """
    POST a certificate request and return the response.

    Raises OSError unless it is 2xx, ValueError for a malformed URL, and HTTPException for a response that is not HTTP.
    """
    headers = {"Content-Type": "application/octet-stream"}
    asked = urllib.request.Request(url, content, headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=TIMEOUT_SECONDS) as response:
        body: bytes = response.read(LONGEST_RESPONSE)
        return body


def main(argv: Sequence[str] | None = None) -> int:
    """Read the environment and make sure that there is a certificate. The exit code is 1 if there is none."""
    argparse.ArgumentParser(
        prog="python -m vespa.worker.certificate",
        description="Have Vast.ai sign this worker's certificate, unless a valid one is at VESPA_SSL_CERT_FILE.",
    ).parse_args(argv)
    environ = os.environ
    settings = read(environ).settings  # with defaults for wrong values, which the worker's own start reports
    if not settings.tls or settings.container_id is None:
        return 0
    base = environ.get("VESPA_SIGN_URL", "").strip() or SIGN_URL
    certificate_path, key_path = settings.ssl_cert_file, settings.ssl_key_file
    raw_tries = environ.get("VESPA_SIGN_TRIES", "").strip()
    tries = int(raw_tries) if raw_tries.isascii() and raw_tries.isdigit() and int(raw_tries) else TRIES
    url = f"{base}?{urllib.parse.urlencode({'instance_id': settings.container_id})}"
    try:
        new = ensure(certificate_path, key_path, url, time.time(), fetch=post, sleep=time.sleep, tries=tries)
    except CertificateError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{certificate_path}: {'signed anew' if new else 'still good'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
