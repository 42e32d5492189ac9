"""Self-signed certificates for tests."""

from __future__ import annotations

import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair:
    """A certificate for 127.0.0.1 and its key, in two files of a folder; `renew` replaces both."""

    def __init__(self, folder: str, names: tuple[str, ...] | None = None) -> None:
        """`names`: DNS names that it is for instead; none at all for an empty tuple."""
        self._names = names
        self.cert_file = os.path.join(folder, "test.crt")
        self.key_file = os.path.join(folder, "test.key")
        self.renew()

    def renew(self) -> None:
        """Write a new key and a certificate of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vespa test")])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        )
        subjects: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        if self._names is not None:
            subjects = [x509.DNSName(name) for name in self._names]
        if subjects:
            builder = builder.add_extension(x509.SubjectAlternativeName(subjects), False)
        certificate = builder.sign(key, hashes.SHA256())
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for path, content in ((self.key_file, private), (self.cert_file, self.certificate)):
            with open(path + ".new", "wb") as file:
                file.write(content)
            os.replace(path + ".new", path)
