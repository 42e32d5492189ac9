"""What was given on the command line, in the environment and in files becomes settings, or one error that names all."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.python import usage

from vespa import __version__
from vespa.config import keys
from vespa.config.client import ClientSettings
from vespa.config.client_options import OPTIONS, Option
from vespa.runtime.local_addresses import is_loopback

Given = Mapping[str, Sequence[str]]
"""The texts that were given for each option on the command line, in order; a switch has one, which is empty."""


class OptionsError(Exception):
    """The options cannot be used; `problems` has a line for each, `hints` what may be behind them. No key is in it."""

    def __init__(self, problems: Sequence[str], hints: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n  ".join([f"{count} in the options:", *problems, *hints]))


@frozen(kw_only=True)
class Reading:
    """What was read. In `settings` the endpoint and the keys may be empty where the user is there to be asked."""

    settings: ClientSettings
    listing: bool = False
    port_given: bool = False
    warnings: tuple[str, ...] = ()


class GivenOptions(usage.Options):
    """The command line as the table has it, unread; `take` hands it out."""

    longdesc = (
        "A local proxy through which any HTTP client calls an endpoint of Vast.ai. "
        "Keys are better given as environment variables or in files: a command line is seen by every user."
    )
    optParameters = [[row.flag, None, None, row.usage] for row in OPTIONS if row.parse is not None and not row.many]
    optFlags = [[row.flag, None, row.usage] for row in OPTIONS if row.parse is None and not row.command_only]

    def __init__(self) -> None:
        self._many: dict[str, list[str]] = {row.flag: [] for row in OPTIONS if row.many}
        super().__init__()  # type: ignore[no-untyped-call]

    def opt_allow_host(self, name: str) -> None:
        self._many["allow-host"].append(name)

    def opt_allow_origin(self, origin: str) -> None:
        self._many["allow-origin"].append(origin)

    def opt_pass(self, name: str) -> None:
        self._many["pass"].append(name)

    opt_pass.__doc__ = next(row.usage for row in OPTIONS if row.flag == "pass")
    opt_allow_host.__doc__ = next(row.usage for row in OPTIONS if row.flag == "allow-host")
    opt_allow_origin.__doc__ = next(row.usage for row in OPTIONS if row.flag == "allow-origin")

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"vespa-proxy {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *rest: str) -> None:
        """Refuse what belongs to no option."""
        if rest:
            raise usage.UsageError("there is an argument that belongs to no option; it is not shown, it may be a key")

    def take(self) -> dict[str, list[str]]:
        """What was given. Keys are here no more after that."""
        given = dict(self._many)
        for row in OPTIONS:
            value = self.get(row.flag)
            if value and not row.many:
                given[row.flag] = ["" if row.parse is None else value]
            if row.secret:
                self[row.flag] = None
        return given


def read(
    given: Given,
    environ: Mapping[str, str],
    *,
    read_file: keys.ReadFile = keys.read_file,
    readable: Callable[[str], bool] = lambda path: os.access(path, os.R_OK),
    can_ask: bool = False,
) -> Reading:
    """
    Make settings of what was given on the command line, in the environment and in files, in this order of preference.

    `can_ask`: where no endpoint is named, the user is asked, for a key as well. Raises OptionsError, which names
    everything that is wrong or missing.
    """
    values, sources, problems = _parse(given, environ)
    warnings = [
        f"a command line is seen by every user of this machine: {row.variable} is the better place for --{row.flag}"
        for row in OPTIONS
        if row.secret and sources.get(row.attribute) == f"--{row.flag}"
    ]
    listing = bool(values.pop("list"))
    if values["endpoint_key"] and not listing:
        values["account_key"] = ""
    elif not values["account_key"] and "account_key" not in problems:
        values["account_key"], found = keys.account_key(environ, read_file)
        warnings += found
    asking = can_ask and (listing or not values["endpoint"])
    if not asking:
        _check_needed(values, environ, problems, listing)
    host, ca = values["host"], values["worker_ca"]
    if not (is_loopback(host) or values["token"] or "token" in problems):
        problems["host"] = (
            f"{sources['host']}={host!r}: whoever reaches it could use your endpoint: set VESPA_CLIENT_TOKEN as well"
        )
    if ca and not readable(ca):
        problems["worker_ca"] = f"{sources['worker_ca']}={ca!r}: cannot be read"
    for each in values["passes"]:
        warnings.append(
            f"{sources['passes']}: what callers send as {each.capitalize()} goes to whichever worker is assigned, "
            "a rented machine whose owner can read it"
        )
    if "authorization" in values["passes"] and values["dialect"] == "official":
        problems["passes"] = f"{sources['passes']}=authorization: workers of the vastai package drop it"
    hints = _unknown_variables(environ)
    if problems:
        raise OptionsError(list(problems.values()), hints)
    return Reading(
        settings=ClientSettings(**values), listing=listing, port_given="port" in sources, warnings=(*warnings, *hints)
    )


def _parse(given: Given, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    # By attribute: the values, where each that was given came from, and what is wrong with it. A wrong value leaves
    # the default in its place, so that the other checks can go on.
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: dict[str, str] = {}
    for row in OPTIONS:
        values[row.attribute] = row.default
        name, texts = f"--{row.flag}", [each.strip() for each in given.get(row.flag, ())]
        if row.parse is None:
            values[row.attribute] = bool(texts)
            continue
        texts = [each for each in texts if each]
        if not texts and (text := environ.get(row.variable, "").strip()):
            name, texts = row.variable, text.replace(",", " ").split() if row.many else [text]
        parsed = []
        for text in texts:
            sources[row.attribute] = name
            try:
                parsed.append(row.parse(text))
            except ValueError as error:
                problems[row.attribute] = f"{name}={_shown(row, text)}: {error}"
        if parsed:
            values[row.attribute] = tuple(parsed) if row.many else parsed[-1]
    return values, sources, problems


def _check_needed(
    values: Mapping[str, Any], environ: Mapping[str, str], problems: dict[str, str], listing: bool
) -> None:
    files = " or ".join(keys.account_key_files(environ)) or "~/.vast_api_key"
    if listing:
        if not values["account_key"] and "account_key" not in problems:
            problems["account_key"] = f"no account key: set VAST_ACCOUNT_KEY, or write it to {files}"
        return
    if not values["endpoint"] and "endpoint" not in problems:
        problems["endpoint"] = (
            "no endpoint: name it with --endpoint or VAST_ENDPOINT; `vespa-proxy client --list` shows the account's"
        )
    if (
        not values["endpoint_key"]
        and not values["account_key"]
        and not problems.keys() & {"endpoint_key", "account_key"}
    ):
        problems["endpoint_key"] = (
            "no key: set VAST_API_KEY to the endpoint's, or VAST_ACCOUNT_KEY to the account's, "
            f"or write the account's to {files}"
        )


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    # Names that can only be meant for us, and that we do not know.
    known = [row.variable for row in OPTIONS if row.variable]
    lines = []
    for name in sorted(environ):
        if name.startswith("VESPA_CLIENT_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            lines.append(f"{name} is no variable of ours" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def _shown(row: Option, raw: str) -> str:
    if row.secret or "@" in raw:  # an address with a password in it
        return "(hidden)"
    return repr(raw if len(raw) <= 80 else raw[:77] + "...")
