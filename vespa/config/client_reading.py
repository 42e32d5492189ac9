"""Reads the client's settings from the command line, the environment and files, and checks them against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from vespa.config import key_files
from vespa.config.admin import check_admin
from vespa.config.client import LIST, WORKERS, ClientSettings
from vespa.config.names import unknown_variables
from vespa.config.reader import Given, Reading
from vespa.config.schema import rows
from vespa.runtime.local_addresses import is_loopback


@frozen(kw_only=True)
class ClientReading:
    """The result of `read`. The endpoint and the keys may be empty if the user can be asked."""

    settings: ClientSettings
    listing: bool = False
    lists_workers: bool = False
    port_given: bool = False
    key_source: str = ""
    """The option, variable or file that gave the key; "" without one."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """No log may show them."""
    warnings: tuple[str, ...] = ()


def read(
    given: Given,
    environ: Mapping[str, str],
    *,
    read_file: key_files.ReadFile = key_files.read_file,
    readable: Callable[[str], bool] = lambda path: os.access(path, os.R_OK),
    can_ask: bool = False,
    **fixed: Any,
) -> ClientReading:
    """
    Read the settings. The command line takes precedence over the environment, and the environment over files.

    `can_ask`: if no endpoint is given, the user is asked for it, and for a key. Fields that are `fixed` are not read.
    Raises SettingsError, which names everything that is wrong or missing.
    """
    reading = Reading(ClientSettings, environ, given, **fixed)
    values = reading.values
    listing = LIST.flag in given.texts
    lists_workers = WORKERS.flag in given.texts
    if lists_workers and not listing:
        reading.problems[WORKERS.flag] = "--workers goes with --list"
    about_files: list[str] = []
    warnings = [
        f"every user of this machine can see a command line: use {row.name} instead of --{row.flag}"
        for row in rows(ClientSettings)
        if row.secret and reading.sources.get(row.attribute) == f"--{row.flag}"
    ]
    if values["endpoint_key"] and not listing:
        values["account_key"] = ""
    elif not values["account_key"] and "account_key" not in reading.problems:
        found = key_files.account_key(environ, read_file)
        values["account_key"], about_files = found.key, list(found.warnings)
        reading.hide(found.key)
        warnings += about_files
        if found.key:
            reading.sources["account_key"] = found.path
    if not (can_ask and (listing or not values["endpoint"])):
        _check_needed(reading, environ, listing)
    warnings += _check_together(reading, readable)
    hints = unknown_variables(environ, "VESPA_CLIENT_")
    return ClientReading(
        settings=reading.settings([*about_files, *hints]),
        listing=listing,
        lists_workers=lists_workers,
        port_given="port" in reading.sources,
        key_source=reading.sources.get("endpoint_key" if values["endpoint_key"] else "account_key", ""),
        secrets=reading.secrets,
        warnings=(*warnings, *hints),
    )


def _check_needed(reading: Reading[ClientSettings], environ: Mapping[str, str], listing: bool) -> None:
    values, problems = reading.values, reading.problems
    if (values["debug_worker_url"] or "debug_worker_url" in problems) and not listing:
        return  # nothing is looked up
    files = " or ".join(key_files.account_key_files(environ)) or "~/.vast_api_key"
    if listing:
        if not values["account_key"] and "account_key" not in problems:
            problems["account_key"] = f"no account key: set VAST_ACCOUNT_KEY, or write it to {files}"
        return
    if not values["endpoint"] and "endpoint" not in problems:
        problems["endpoint"] = (
            "no endpoint: name it with --endpoint or VAST_ENDPOINT; `vespa-proxy client --list` shows the account's"
        )
    keys = {"endpoint_key", "account_key"}
    if not any(values[each] for each in keys) and not problems.keys() & keys:
        problems["endpoint_key"] = (
            "no key: set VAST_API_KEY to the endpoint's, or VAST_ACCOUNT_KEY to the account's, "
            f"or write the account's to {files}"
        )


def _check_together(reading: Reading[ClientSettings], readable: Callable[[str], bool]) -> list[str]:
    """Add problems with values that do not go together. Returns warnings."""
    values = reading.values
    if not (is_loopback(values["host"]) or values["token"] or "token" in reading.problems):
        reading.wrong("host", "anyone who can reach it could use your endpoint: set VESPA_CLIENT_TOKEN as well")
    check_admin(reading)
    if values["worker_ca"] and not readable(values["worker_ca"]):
        reading.wrong("worker_ca", "cannot be read")
    where = reading.sources.get("passes")
    if "authorization" in values["passes"] and values["dialect"] == "official":
        reading.problems["passes"] = f"{where}=authorization: workers of the vastai package drop it"
    return [
        f"{where}: the assigned worker gets the callers' {each.capitalize()}, and the owner of that rented machine can "
        "read it"
        for each in values["passes"]
    ]
