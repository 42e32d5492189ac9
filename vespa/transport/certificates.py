"""The certificate of a TLS port: loads it with errors that say what is wrong, and loads it again when it changes."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from typing import Literal

from cryptography import x509
from OpenSSL import SSL
from twisted.logger import Logger

# For TLS 1.2: ECDHE, so that the certificate's key cannot reveal a session key, and authenticated encryption.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
ALPN = b"http/1.1"
DAY_SECONDS = 24 * 60 * 60
WARN_SECONDS = 7 * DAY_SECONDS


class CertificateError(Exception):
    """A certificate and its key cannot be used; the message names the file and the reason."""


def server_context(cert_chain_file: str, key_file: str) -> SSL.Context:
    """
    The context with which a server speaks TLS 1.2 and 1.3 under this certificate.

    `cert_chain_file` is PEM: the server's own certificate first, then those that lead to the root. `key_file` is its
    private key, PEM without a passphrase. Both may be the same file. Clients may resume their sessions with tickets, so
    the server stores none. If a client offers protocols (ALPN), the server selects HTTP/1.1 among them. A client that
    does not offer it is served all the same. Raises CertificateError.
    """
    for name, path in ("certificate", cert_chain_file), ("private key", key_file):
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise CertificateError(f"the {name} {path} cannot be read: {error.strerror}") from error
        if name == "private key" and b"ENCRYPTED" in content:
            raise CertificateError(f"the {name} {path} has a passphrase: store it without one")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection holds no buffers
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"vespa")  # OpenSSL resumes no session without it
    context.set_alpn_select_callback(_choose_protocol)
    context.set_passwd_cb(_no_passphrase)
    try:
        context.use_certificate_chain_file(cert_chain_file)
    except SSL.Error as error:
        raise CertificateError(f"{cert_chain_file} holds no certificate in PEM form: {_reason(error)}") from error
    try:
        context.use_privatekey_file(key_file)
        context.check_privatekey()
    except SSL.Error as error:
        reason = _reason(error)
        if "mismatch" in reason:
            raise CertificateError(f"the private key {key_file} does not belong to {cert_chain_file}") from error
        raise CertificateError(f"{key_file} holds no private key in PEM form: {reason}") from error
    return context


def _choose_protocol(_: SSL.Connection, offered: Sequence[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _no_passphrase(*_: object) -> bytes:
    return b""  # otherwise OpenSSL asks on the terminal


def _reason(error: SSL.Error) -> str:
    return ", ".join(str(entry[-1]) for entry in error.args[0]) or "not in that form"


class Certificate:
    """The context made from a pair of files, and made again when they change. Open connections keep theirs."""

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

    def problem(self, now: float, name: str = "certificate") -> tuple[Literal["error", "warning"], str] | None:
        """
        A severity and a sentence if it has expired, or does within a week; None otherwise.

        `now` is in epoch seconds. `name` is what the sentence calls it.
        """
        left = self.ends - now
        if left > WARN_SECONDS:
            return None
        if left <= 0:
            return "error", f"The {name} {self.file} expired on {shown_date(self.ends)}, and clients refuse it."
        return "warning", f"The {name} {self.file} expires on {shown_date(self.ends)}: replace it before then."

    def reload(self) -> bool:
        """
        Load the files again if they have changed. Returns whether there is a new context.

        If they do not load, this is logged once and the old context stays. A renewal that replaces one file after the
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
            self.log.error("the certificate was not replaced, the old one stays in use: {error}", error=str(error))
            return False
        self.log.info("the certificate was replaced from {file}", file=self._files[0])
        return True

    def _look(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


class Expiry:
    """Logs that a certificate expires soon, once a day from a week before, and that it has expired."""

    log = Logger()

    def __init__(self, certificate: Certificate, now: Callable[[], float]) -> None:
        """`now` returns epoch seconds."""
        self.certificate = certificate
        self._now = now
        self._told: tuple[float, int] | None = None

    def check(self) -> None:
        """Check once. Each certificate is logged at most once a day."""
        ends = self.certificate.ends
        left = ends - self._now()
        if left > WARN_SECONDS:
            return
        days = int(left // DAY_SECONDS)
        if self._told == (ends, days):
            return
        self._told = (ends, days)
        when = shown_date(ends)
        if left <= 0:
            say = self.log.error
            text = (
                "the certificate {file} expired on {when}, and clients refuse it: replace it, it is read every minute"
            )
        else:
            say = self.log.warn
            text = "the certificate {file} expires on {when}: replace it before then, it is read every minute"
        say(text, file=self.certificate.file, when=when)


def _end_of(cert_chain_file: str) -> float:
    """The time at which the first certificate of a chain expires, in epoch seconds."""
    try:
        with open(cert_chain_file, "rb") as file:
            chain = x509.load_pem_x509_certificates(file.read())
    except (OSError, ValueError):
        return float("inf")  # OpenSSL accepted it, but its expiry is unknown
    return min(certificate.not_valid_after_utc.timestamp() for certificate in chain)


def shown_date(at: float) -> str:
    """A moment in epoch seconds, for messages."""
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
