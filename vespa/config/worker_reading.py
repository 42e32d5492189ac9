"""Reads a worker's settings from the environment and files, and checks them against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from attrs import field, frozen

from vespa.config.admin import check_admin
from vespa.config.names import unknown_variables
from vespa.config.reader import Reading, SettingsError
from vespa.config.values import field_value, key
from vespa.config.worker import WorkerSettings
from vespa.config.worker_hints import hints

_PORT_PREFIX = "VAST_TCP_PORT_"
_SECRET_FILE_BYTES = 65536
BACKENDS_MAX = 64


@frozen(kw_only=True)
class WorkerReading:
    """The result of `read`."""

    settings: WorkerSettings
    """Wrong values are replaced by the defaults."""
    error: SettingsError | None
    """Names every mistake; None if there is none."""
    can_report: bool
    """Whether the variables that are needed to report a failed start are right."""
    secrets: tuple[str, ...] = field(repr=False)
    """No log may show them. They are known even if there are mistakes."""
    warnings: tuple[str, ...]
    """Suspicious settings that are allowed."""


def _readable(path: str) -> bool:
    return os.access(path, os.R_OK)


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read(_SECRET_FILE_BYTES)


def read(
    environ: Mapping[str, str],
    *,
    readable: Callable[[str], bool] = _readable,
    read_text: Callable[[str], str] = _read_text,
) -> WorkerReading:
    """Read the settings. `readable` tells whether a file can be read; `read_text` returns its text, or OSError."""
    reading = Reading(WorkerSettings, environ)
    _check_needed(reading, environ)
    _take_secret_file(reading, "backend_authorization", field_value, read_text)
    _take_secret_file(reading, "admin_token", key, read_text)
    check_admin(reading)
    _check_files(reading, readable)
    found = [*unknown_variables(environ, "VESPA_"), *hints(reading)]
    settings = WorkerSettings(**reading.values)
    unread = {"container_id", "master_token", "report_addr"} & reading.problems.keys()
    return WorkerReading(
        settings=settings,
        error=SettingsError(list(reading.problems.values()), found, "settings") if reading.problems else None,
        can_report=settings.identity is not None and not unread,
        secrets=reading.secrets,
        warnings=tuple(found),
    )


def load(environ: Mapping[str, str]) -> WorkerSettings:
    """The settings. Raises SettingsError, which names every variable that is wrong or missing."""
    found = read(environ)
    if found.error is not None:
        raise found.error
    return found.settings


def _check_needed(reading: Reading[WorkerSettings], environ: Mapping[str, str]) -> None:
    reading.need("backend_urls", "set it to the URL of your inference server")
    _check_backends(reading)
    if reading.values["unsecured"] or "unsecured" in reading.problems:
        return
    reading.need("benchmark", "README.md lists one for each server; VESPA_UNSECURED=true, for development, needs none")
    for attribute in ("container_id", "master_token", "public_ipaddr"):
        reading.need(attribute, "Vast.ai sets it on its machines; elsewhere set VESPA_UNSECURED=true")
    if "worker_port" not in reading.problems:
        reading.need("public_port", _port_hint(environ, reading.values["worker_port"]))


def _check_backends(reading: Reading[WorkerSettings]) -> None:
    """Each backend is named once, and not too many are."""
    if "backend_urls" in reading.problems:
        return
    name = reading.name("backend_urls")
    urls = [backend.url for backend in reading.values["backend_urls"]]
    repeated = sorted({url for url in urls if urls.count(url) > 1})
    if repeated:
        reading.problems["backend_urls"] = f"{name} names {', '.join(repeated)} more than once: name each backend once"
    elif len(urls) > BACKENDS_MAX:
        reading.problems["backend_urls"] = f"{name} names {len(urls)} backends: {BACKENDS_MAX} are possible"
    elif len(urls) == 1 and reading.values["affinity"] is not None:
        reading.problems["affinity"] = (
            f"{reading.name('affinity')} is for several backends, and {name} names one: unset it, or name the others"
        )


def _port_hint(environ: Mapping[str, str], port: int) -> str:
    """What to do if Vast maps no public port to the worker's."""
    mapped = sorted({name.removeprefix(_PORT_PREFIX) for name in environ if name.startswith(_PORT_PREFIX)})
    open_ports = [each for each in mapped if each.isascii() and each.isdigit() and environ[_PORT_PREFIX + each].strip()]
    other = f", or set VESPA_WORKER_PORT to one that is open ({', '.join(open_ports)})" if open_ports else ""
    return f"no public port leads to the worker's port {port}: open it in the template (-p {port}:{port}){other}"


def _take_secret_file(
    reading: Reading[WorkerSettings], attribute: str, parse: Callable[[str], str], read_text: Callable[[str], str]
) -> None:
    """Read a secret from the file that `attribute`_file names, instead of from its variable."""
    of_file = f"{attribute}_file"
    path = reading.values[of_file]
    if not path:
        return
    name = reading.name(of_file)
    try:
        value = _from_file(path, parse, read_text)
    except ValueError as error:
        reading.problems[of_file] = f"{name}: {error}"
    else:
        reading.values[attribute] = value
        reading.hide(value)
    if attribute in reading.sources:
        reading.problems[of_file] = f"{name}: {reading.name(attribute)} is set too; unset one"


def _from_file(path: str, parse: Callable[[str], str], read_text: Callable[[str], str]) -> str:
    """The secret in a file. Raises ValueError, whose message does not show the file's text."""
    try:
        return parse(read_text(path).strip())
    except UnicodeError:
        raise ValueError(f"{path!r} does not hold text") from None
    except OSError as error:
        raise ValueError(f"{path!r} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"the text in {path!r} {error}") from None


def _check_files(reading: Reading[WorkerSettings], readable: Callable[[str], bool]) -> None:
    values = reading.values
    files = ["backend_ca_file"]
    if values["use_ssl"] and not values["listen"]:
        files += ["ssl_cert_file", "ssl_key_file"]
    for attribute in files:
        if values[attribute] and not readable(values[attribute]):
            reading.wrong(attribute, "cannot be read")
