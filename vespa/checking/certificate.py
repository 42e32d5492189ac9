"""
Examines the certificate of the worker's port: its key, its dates, its address, and who signed it.

Of the certificate of the admin port only the key and the dates are examined: operators choose its names and its signer.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from vespa.checking.finding import Finding, failed, ok, warning
from vespa.config.worker import WorkerSettings
from vespa.transport.certificates import DAY_SECONDS, WARN_SECONDS, Certificate, CertificateError, shown_date
from vespa.transport.endpoint_strings import split

ADMIN: Final = "admin certificate"
_RENEW: Final = "delete the file and start the worker with start_server.sh, which has Vast.ai sign a new one"
_REPLACE: Final = "write a new one and its key to the same files, which are read every minute"


def certificate_files(settings: WorkerSettings) -> tuple[str, str] | None:
    """The certificate and the key with which the worker listens; None without TLS."""
    if settings.tls:
        return settings.ssl_cert_file, settings.ssl_key_file
    return _files_of(settings.listen)


def _files_of(listen: str) -> tuple[str, str] | None:
    """The certificate and the key of an endpoint string; None without TLS."""
    values, named = split(listen)
    if values[:1] != ["ssl"]:
        return None
    key = named.get("privateKey", "server.pem")
    return named.get("certKey", key), key


def check_admin_certificate(listen: str, now: float, setting: str) -> list[Finding]:
    """
    The finding about the certificate of the admin port of a worker or a client; none if that has no TLS.

    `listen` is its endpoint string, and `setting` the name of the setting that has it.
    """
    found = _files_of(listen)
    if found is None:
        return []
    try:
        chain = _load(*found)
    except (CertificateError, OSError, ValueError) as error:
        return [failed(ADMIN, str(error), f"correct {setting}, or the files", file=found[0])]
    return [_dates(found[0], chain, now, ADMIN, _REPLACE)]


def _load(certificate_file: str, key_file: str) -> list[x509.Certificate]:
    """The chain, of which the key is the first one's. Raises CertificateError, OSError and ValueError."""
    Certificate(certificate_file, key_file)
    with open(certificate_file, "rb") as file:
        return x509.load_pem_x509_certificates(file.read())


def check_certificate(settings: WorkerSettings, now: float, root: x509.Certificate | None) -> list[Finding]:
    """
    The findings; `now` is in epoch seconds. `root` is the one that clients trust; None: which one is not known here.
    """
    found = certificate_files(settings)
    if found is None:
        return [ok("certificate", "not needed: the worker's port has no TLS")]
    certificate_file, key_file = found
    try:
        chain = _load(certificate_file, key_file)
    except CertificateError as error:
        advice = "correct VESPA_SSL_CERT_FILE and VESPA_SSL_KEY_FILE, or the files"
        if not os.path.exists(certificate_file):
            advice = "start the worker with start_server.sh, which has Vast.ai sign one, or name the file"
        return [failed("certificate", str(error), advice, file=certificate_file)]
    except (OSError, ValueError) as error:
        advice = "write the certificate anew, in PEM form"
        return [failed("certificate", f"{certificate_file} cannot be read: {error}", advice, file=certificate_file)]
    dates = _dates(certificate_file, chain, now, "certificate", _RENEW)
    return [dates, *_names(settings, chain[0]), *_signer(chain[0], root)]


def _dates(file: str, chain: list[x509.Certificate], now: float, what: str, renew: str) -> Finding:
    ends = min(each.not_valid_after_utc.timestamp() for each in chain)
    begins = max(each.not_valid_before_utc.timestamp() for each in chain)
    days = (ends - now) / DAY_SECONDS
    details = {"file": file, "expires": _iso(ends), "days_left": round(days, 1)}
    if now >= ends:
        why = f"{file} expired on {shown_date(ends)}, {_days(-days)} ago: clients refuse it"
        return failed(what, why, renew, **details)
    if now < begins:
        why = f"{file} is valid only from {shown_date(begins)} on: clients refuse it until then"
        return failed(what, why, "check the clock of this machine, or replace the certificate", **details)
    why = f"{file} belongs to its key and expires on {shown_date(ends)}, in {_days(days)}"
    if ends - now <= WARN_SECONDS:
        return warning(what, why, f"replace it before then: {renew}", **details)
    return ok(what, why, **details)


def _names(settings: WorkerSettings, certificate: x509.Certificate) -> list[Finding]:
    """A warning if the certificate is not for the public address, by which clients verify it."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    addresses = names.get_values_for_type(x509.IPAddress)
    try:
        public = ipaddress.ip_address(settings.public_ipaddr)
    except ValueError:
        return []  # not set, or a name
    if public in addresses:
        return []
    names_of = ", ".join(map(str, [*addresses, *names.get_values_for_type(x509.DNSName)])) or "no address"
    why = f"it is for {names_of}, not for PUBLIC_IPADDR={public}: clients that call the worker by its address refuse it"
    return [warning("certificate", why, f"correct PUBLIC_IPADDR, or {_RENEW}")]


def _signer(certificate: x509.Certificate, root: x509.Certificate | None) -> list[Finding]:
    """Who signed the certificate."""
    if certificate.issuer == certificate.subject:
        why = "it is self-signed: clients of Vast.ai trust only certificates that Vast.ai has signed"
        return [warning("signed by", why, f"{_RENEW}; or give clients this certificate with --worker-ca")]
    issuer = _common_name(certificate.issuer)
    if root is None:
        return [ok("signed by", issuer)]
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        why = f"{issuer}, not by Vast.ai's root: clients of Vast.ai refuse it"
        return [warning("signed by", why, f"{_RENEW}; or give clients that root with --worker-ca")]
    return [ok("signed by", "Vast.ai's root, which Vast.ai's clients trust")]


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _iso(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat()


def _days(days: float) -> str:
    count = round(days)
    return "less than a day" if days < 1.0 else "1 day" if count == 1 else f"{count} days"
