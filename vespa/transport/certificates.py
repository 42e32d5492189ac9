"""The certificate that a TLS port shows: loaded with errors that say what is wrong, and read again when it changes."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence

from cryptography import x509
from OpenSSL import SSL
from twisted.logger import Logger

# For TLS 1.2: a session key that the certificate's key cannot uncover, and encryption that is its own checksum.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
ALPN = b"http/1.1"
DAY_SECONDS = 24 * 60 * 60
WARN_SECONDS = 7 * DAY_SECONDS


class CertificateError(Exception):
    """A certificate and its key cannot be used; the message names the file and says why."""


def server_context(cert_chain_file: str, key_file: str) -> SSL.Context:
    """
    What a server needs to speak TLS 1.2 and 1.3 under this certificate.

    `cert_chain_file` is PEM, the server's own certificate first and then those that lead to the root; `key_file` is the
    first one's private key, PEM without a passphrase. Both may be the same file. Clients may resume their sessions by
    ticket, nothing is kept here for it. Of the protocols that a client offers (ALPN) HTTP/1.1 is taken, and a client
    that does not offer it is served all the same. Raises CertificateError.
    """
    for name, path in ("certificate", cert_chain_file), ("private key", key_file):
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise CertificateError(f"the {name} {path} cannot be read: {error.strerror}") from error
        if name == "private key" and b"ENCRYPTED" in content:
            raise CertificateError(f"the {name} {path} has a passphrase, which nobody is here to type")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection holds no buffers
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"vespa")  # without it no session is resumed
    context.set_alpn_select_callback(_choose_protocol)
    context.set_passwd_cb(_no_passphrase)
    try:
        context.use_certificate_chain_file(cert_chain_file)
    except SSL.Error as error:
        raise CertificateError(f"{cert_chain_file} holds no certificate (PEM): {_reason(error)}") from error
    try:
        context.use_privatekey_file(key_file)
        context.check_privatekey()
    except SSL.Error as error:
        reason = _reason(error)
        if "mismatch" in reason:
            raise CertificateError(f"the private key {key_file} is not that of {cert_chain_file}") from error
        raise CertificateError(f"{key_file} holds no private key (PEM): {reason}") from error
    return context


def _choose_protocol(_: SSL.Connection, offered: Sequence[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _no_passphrase(*_: object) -> bytes:
    return b""  # OpenSSL's own way is to ask on the terminal


def _reason(error: SSL.Error) -> str:
    return ", ".join(str(entry[-1]) for entry in error.args[0]) or "not in that form"


class Certificate:
    """The context made from a pair of files, made again when they change. Connections already there keep theirs."""

    log = Logger()

    def __init__(self, cert_chain_file: str, key_file: str) -> None:
        """Raises CertificateError."""
        self._files = (cert_chain_file, key_file)
        self._stamp = self._look()
        self.current = server_context(cert_chain_file, key_file)
        self.ends = _end_of(cert_chain_file)

    @property
    def file(self) -> str:
        """The certificate's file."""
        return self._files[0]

    def reload(self) -> bool:
        """
        Load the files again if they have changed; whether there is a new context.

        What does not load is logged, once, and the old context stays: a renewal that replaces one file and then the
        other passes through a pair that does not match.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.current = server_context(*self._files)
            self.ends = _end_of(self._files[0])
        except CertificateError as error:
            self.log.error("certificate not replaced: {error}", error=str(error))
            return False
        self.log.info("certificate replaced from {file}", file=self._files[0])
        return True

    def _look(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


class Expiry:
    """Says in the log that a certificate nears its end, from a week before and once a day, and that it ended."""

    log = Logger()

    def __init__(self, certificate: Certificate, now: Callable[[], float]) -> None:
        """`now` gives epoch seconds."""
        self._certificate = certificate
        self._now = now
        self._told: tuple[float, int] | None = None

    def check(self) -> None:
        """Look once; what was said of the same certificate on the same day is not said again."""
        ends = self._certificate.ends
        left = ends - self._now()
        if left > WARN_SECONDS:
            return
        days = int(left // DAY_SECONDS)
        if self._told == (ends, days):
            return
        self._told = (ends, days)
        when = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        file = self._certificate.file
        if left <= 0:
            self.log.error(
                "the certificate {file} expired on {when}: clients refuse it; replace it, it is read every minute",
                file=file,
                when=when,
            )
        else:
            self.log.warn(
                "the certificate {file} expires on {when}: replace it before, it is read every minute",
                file=file,
                when=when,
            )


def _end_of(cert_chain_file: str) -> float:
    """When the first certificate of a chain to end ends, in epoch seconds."""
    try:
        with open(cert_chain_file, "rb") as file:
            chain = x509.load_pem_x509_certificates(file.read())
    except (OSError, ValueError):
        return float("inf")  # OpenSSL took it; of its end nothing can be said
    return min(certificate.not_valid_after_utc.timestamp() for certificate in chain)


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
