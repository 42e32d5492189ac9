"""The environment becomes one frozen Settings, or one error that names every mistake in it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from attrs import frozen

from vespa.runtime.secret import secret_forms
from vespa.vast.status_report import Identity

from .values import Backend, field_value
from .worker import CLIENT_NAMES, ELSEWHERE, Variable, Variables, variables

__all__ = [
    "Backend",
    "FailureIdentity",
    "Settings",
    "SettingsError",
    "identity_if_readable",
    "load",
    "secrets",
    "warnings",
]

BACKLOG = 1024  # connections that may wait to be accepted; Twisted's 50 is soon full
_PORT = "VAST_TCP_PORT_<port>"
_PORT_PREFIX = "VAST_TCP_PORT_"
_AUTHORIZATION = "VESPA_BACKEND_AUTHORIZATION"
_AUTHORIZATION_FILE = f"{_AUTHORIZATION}_FILE"
_SECRET_FILE_BYTES = 65536


class SettingsError(Exception):
    """The environment cannot be used; `problems` has one line for each variable, `hints` what may be behind them."""

    def __init__(self, problems: Sequence[str], hints: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n  ".join([f"{count} in the settings:", *problems, *hints]))


@frozen(kw_only=True)
class Settings(Variables):
    """Every variable of the table, and what follows from them."""

    @property
    def secured(self) -> bool:
        """Whether requests must be signed."""
        return not self.unsecured

    @property
    def tls(self) -> bool:
        """Whether the worker itself makes the listening port speak TLS."""
        return self.use_ssl and not self.listen

    @property
    def public_url(self) -> str:
        """The address under which clients reach this worker; "" where Vast did not tell it."""
        return _public_url(self.use_ssl, self.public_ipaddr, self.public_port)

    @property
    def reporting(self) -> bool:
        """Whether there is an autoscaler to report to and an identity to report."""
        return self.container_id is not None and bool(self.master_token)

    @property
    def report_addresses(self) -> tuple[str, ...]:
        """The autoscaler's addresses, in the order to try; none when we report to nobody."""
        return self.report_addr if self.reporting else ()

    @property
    def identity(self) -> Identity | None:
        """Who the reports say we are; None when we report to nobody."""
        if self.container_id is None or not self.master_token:
            return None
        return Identity(
            id=self.container_id, mtoken=self.master_token, version=self.report_version, url=self.public_url
        )

    @property
    def backend_connection_limit(self) -> int:
        """Most connections to the backend, which is one host; 0 is no limit."""
        limits = [limit for limit in (self.connection_limit, self.connection_limit_per_host) if limit]
        return min(limits, default=0)

    @property
    def concurrency(self) -> int:
        """Most requests at the backend at once; 0 is no limit."""
        return self.max_concurrency if self.allow_parallel else 1

    @property
    def interface(self) -> str:
        """The address to listen on where VESPA_LISTEN names none."""
        return "0.0.0.0" if self.secured or self.unsecured_public else "127.0.0.1"

    @property
    def endpoint(self) -> str:
        """The Twisted endpoint string to listen on."""
        if self.listen:
            return self.listen
        where = f"port={self.worker_port}:interface={self.interface}:backlog={BACKLOG}"
        if not self.use_ssl:
            return f"tcp:{where}"
        return f"ssl:{where}:privateKey={_quoted(self.ssl_key_file)}:certKey={_quoted(self.ssl_cert_file)}"


@frozen
class FailureIdentity(Identity):
    """Who cannot start, and the addresses to tell it to."""

    addresses: tuple[str, ...] = ()


def _readable(path: str) -> bool:
    return os.access(path, os.R_OK)


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read(_SECRET_FILE_BYTES)


def load(
    environ: Mapping[str, str],
    *,
    readable: Callable[[str], bool] = _readable,
    read_text: Callable[[str], str] = _read_text,
) -> Settings:
    """Read the settings; `readable` says whether a file can be read, `read_text` gives what is in it, or OSError.

    Raises SettingsError, which names every variable that is wrong or missing; no secret is in it.
    """
    values, problems = _parse(environ)
    bad = {name for name, _ in problems}

    def missing(name: str, attribute: str, why: str) -> None:
        if not values[attribute] and values[attribute] != 0 and name not in bad:
            problems.append((name, f"{name} is {'empty' if name in environ else 'not set'}: {why}"))

    missing("VESPA_BACKEND_URL", "backend", "where should requests go?")
    if not values["unsecured"] and not bad & {"VESPA_UNSECURED", "UNSECURED"}:
        needed = "needed, except to develop on this machine alone (VESPA_UNSECURED=true)"
        missing("VESPA_BENCHMARK", "benchmark", needed)
        missing("CONTAINER_ID", "container_id", needed)
        missing("MASTER_TOKEN", "master_token", needed)
        missing("PUBLIC_IPADDR", "public_ipaddr", needed)
        if not bad & {"VESPA_WORKER_PORT", "WORKER_PORT"}:
            missing(_port_name(values), "public_port", _port_hint(environ, values["worker_port"]))
    if values["backend_authorization_file"]:
        if environ.get(_AUTHORIZATION, "").strip():
            problems.append((_AUTHORIZATION_FILE, f"{_AUTHORIZATION_FILE}: {_AUTHORIZATION} is set too; unset one"))
        else:
            try:
                values["backend_authorization"] = _from_file(values["backend_authorization_file"], read_text)
            except ValueError as error:
                problems.append((_AUTHORIZATION_FILE, f"{_AUTHORIZATION_FILE}: {error}"))
    files = [("VESPA_BACKEND_CA_FILE", values["backend_ca_file"])]
    if values["use_ssl"] and not values["listen"]:
        files += [("VESPA_SSL_CERT_FILE", values["ssl_cert_file"]), ("VESPA_SSL_KEY_FILE", values["ssl_key_file"])]
    problems += [(name, f"{name}={path!r}: cannot be read") for name, path in files if path and not readable(path)]
    if problems:
        raise SettingsError([line for _, line in problems], warnings(environ))
    return Settings(**values)


def _port_hint(environ: Mapping[str, str], port: int) -> str:
    """What to do where Vast maps no public port to the worker's."""
    mapped = sorted({name.removeprefix(_PORT_PREFIX) for name in environ if name.startswith(_PORT_PREFIX)})
    open_ports = [each for each in mapped if each.isascii() and each.isdigit() and environ[_PORT_PREFIX + each].strip()]
    other = f", or set VESPA_WORKER_PORT to one that is open ({', '.join(open_ports)})" if open_ports else ""
    return f"no public port leads to the worker's port {port}: open it in the template (-p {port}:{port}){other}"


def _from_file(path: str, read_text: Callable[[str], str]) -> str:
    """The header value that a file holds. Raises ValueError, which never tells what is in the file."""
    try:
        return field_value(read_text(path).strip())
    except UnicodeError:
        raise ValueError(f"{path!r} does not hold text") from None
    except OSError as error:
        raise ValueError(f"{path!r} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"what {path!r} holds {error}") from None


def secrets(environ: Mapping[str, str], *, read_text: Callable[[str], str] = _read_text) -> list[str]:
    """The values that no log may show: whatever of them can be read, the mistakes in the settings aside."""
    found = [environ.get("MASTER_TOKEN", "").strip(), environ.get(_AUTHORIZATION, "").strip()]
    path = environ.get(_AUTHORIZATION_FILE, "").strip()
    if path:
        try:
            found.append(_from_file(path, read_text))
        except ValueError:
            pass
    return [each for value in found for each in secret_forms(value)]


def warnings(environ: Mapping[str, str]) -> list[str]:
    """What is odd about the environment and yet no error: names of VESPA_ variables that Vespa does not know."""
    known = {row.name for _, row in variables()} | {row.name for row in ELSEWHERE} | CLIENT_NAMES
    unknown = sorted(name for name in environ if name.startswith("VESPA_") and name not in known)
    ours = [name.removeprefix("VESPA_") for name in sorted(known) if name.startswith("VESPA_")]
    lines = []
    for name in unknown:
        near = difflib.get_close_matches(name.removeprefix("VESPA_"), ours, n=1)
        lines.append(f"{name} is not a setting" + (f"; did you mean VESPA_{near[0]}?" if near else ""))
    key = environ.get(_AUTHORIZATION, "").strip()
    if key and " " not in key:
        lines.append(f"{_AUTHORIZATION} is a single word: most servers want `Bearer KEY`, the scheme included")
    return lines


def identity_if_readable(environ: Mapping[str, str]) -> FailureIdentity | None:
    """Who to report a failed start as, when the rest of the environment is no good; None if that cannot be read."""
    values, problems = _parse(environ)
    bad = {name for name, _ in problems}
    if bad & {"CONTAINER_ID", "MASTER_TOKEN", "REPORT_ADDR"} or values["container_id"] is None:
        return None
    if not values["master_token"]:
        return None
    return FailureIdentity(
        id=values["container_id"],
        mtoken=values["master_token"],
        version=values["report_version"],
        url=_public_url(values["use_ssl"], values["public_ipaddr"], values["public_port"]),
        addresses=values["report_addr"],
    )


def markdown() -> str:
    """The table as the documentation shows it."""
    lines = []
    rows = [row for _, row in variables()] + list(ELSEWHERE)
    for section, group in groupby(rows, key=lambda row: row.section):
        lines += [f"### {section}", "", "| Variable | Default | Unit | Meaning |", "|---|---|---|---|"]
        for row in group:
            name = f"`{row.name}`" + (f" (or `{row.fallback}`)" if row.fallback else "")
            default = f"`{row.default}`" if row.default else ""
            lines.append(f"| {name} | {default} | {row.unit} | {row.help} |")
        lines.append("")
    return "\n".join(lines)


def _parse(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    # A wrong value leaves the default in its place, so that the other checks can go on.
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    defaults = Variables()
    for attribute, row in _port_last(variables()):
        name, raw = _find(environ, row, values)
        values[attribute] = getattr(defaults, attribute)
        if raw:
            try:
                values[attribute] = row.parse(raw)
            except ValueError as error:
                problems.append((name, f"{name}={_shown(row, raw)}: {error}"))
    return values, problems


def _port_last(rows: Iterable[tuple[str, Variable]]) -> list[tuple[str, Variable]]:
    # The name of VAST_TCP_PORT_<port> depends on the worker's port.
    return sorted(rows, key=lambda item: item[1].name == _PORT)


def _find(environ: Mapping[str, str], row: Variable, values: Mapping[str, Any]) -> tuple[str, str]:
    # An empty variable counts as one that is not set: templates pass on what they do not know.
    name = _port_name(values) if row.name == _PORT else row.name
    raw = environ.get(name, "").strip()
    if not raw and row.fallback:
        older = environ.get(row.fallback, "").strip()
        if older:
            return row.fallback, older
    return name, raw


def _port_name(values: Mapping[str, Any]) -> str:
    return _PORT.replace("<port>", str(values["worker_port"]))


def _shown(row: Variable, raw: str) -> str:
    if row.secret or "@" in raw:  # an address with a password in it
        return "(hidden)"
    return repr(raw if len(raw) <= 80 else raw[:77] + "...")


def _public_url(tls: bool, address: str, port: int | None) -> str:
    if not address or port is None:
        return ""
    host = f"[{address}]" if ":" in address else address
    return f"{'https' if tls else 'http'}://{host}:{port}"


def _quoted(argument: str) -> str:
    # In an endpoint string ":" parts arguments and "\" quotes.
    return argument.replace("\\", "\\\\").replace(":", "\\:")


if __name__ == "__main__":
    print(markdown())
