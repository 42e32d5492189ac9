"""Every setting of `vespa-proxy load`. It reads the settings of its client proxy as the client does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from attrs import evolve, field, frozen

from vespa.config import client_reading
from vespa.config.client import ClientSettings
from vespa.config.names import unknown_variables
from vespa.config.reader import Given, Reading, SettingsError
from vespa.config.schema import Option, option, rows
from vespa.config.slo import SLO, slo
from vespa.config.sweep import Sweep, sweep
from vespa.config.thresholds import Threshold, threshold
from vespa.config.values import Number, address, text, whole

# The client's options that make sense for a proxy that only this test uses.
CLIENT_OPTIONS: Final = frozenset(
    (
        "endpoint api-key account-key instance autoscaler-url console-url worker-ca dialect attempts "
        "max-connections-per-host transport debug"
    ).split()
)
_HIGHEST: Final = 1e9


def _header(raw: str) -> tuple[str, str]:
    name, colon, value = raw.partition(":")
    is_name = name and all(character.isalnum() or character == "-" for character in name) and name.isascii()
    if not colon or not is_name or not value.strip().isprintable() or not value.isascii():
        raise ValueError("must be 'Name: value', in printable ASCII")
    return name, value.strip()


def _page(raw: str) -> str:
    if raw == "-":
        raise ValueError("must be a file; only --json can be written to standard output")
    return raw


_where = partial(option, section="Where to")
_what = partial(option, section="What")
_how_much = partial(option, section="How much")
_report = partial(option, section="The report")


@frozen(kw_only=True)
class LoadSettings:
    """The target, the requests, their rate, and the report. Durations are in seconds."""

    url: str = _where(address, "", "A base URL: an unsecured worker, a local proxy, or a backend.")
    headers: tuple[tuple[str, str], ...] = _where(
        _header, "", "A further header, `Name: value`.", flag="header", short="H", many=True, secret=True
    )

    benchmark: str = _what(
        text, "benchmarks.openai_chat", "A module, or file.py, with get_test_request().", "VESPA_BENCHMARK", short="b"
    )
    stream: bool = _what(None, "", "Request streams; default: if the payload can.")
    no_stream: bool = _what(None, "", "Request whole responses.")
    seed: int | None = _what(whole(0, 10**15), None, "Repeats prompts and random arrivals.")

    requests: int = _how_much(whole(0, 10**15), "100", "Number of requests; with --duration no limit.", short="n")
    rps: float = _how_much(
        Number(0, _HIGHEST, "requests/s", above=True), None, "Requests a second, whatever happens to them (open loop)."
    )
    poisson: bool = _how_much(None, "", "With --rps: at random times, as from many users.")
    concurrency: int = _how_much(
        whole(1, 10**15), "10", "Requests in flight at a time (closed loop); with --rps their maximum, if given."
    )
    sweep: Sweep | None = _how_much(
        sweep, None, "The same at several levels: concurrency=1,2,4,8, concurrency=1..64 or rps=1,2,5.", unit="levels"
    )
    duration: float = _how_much(Number(0, _HIGHEST, "seconds", above=True), None, "How long to send requests.")
    timeout: float = _how_much(Number(0, _HIGHEST, "seconds", above=True), "600", "Limit of one request.")
    warmup: int = _how_much(whole(0, 10**15), "0", "Requests before the test, not counted.")

    slo: SLO | None = _report(
        slo, None, "Objectives of a good request, of ttft, tpot, e2e: ttft=500ms,tpot=50ms.", unit="times"
    )
    fail_if: tuple[Threshold, ...] = _report(
        threshold,
        "",
        "Exit code 1 if this is so, such as p99>2s, ttft>1s, errors>1%, goodput<5.",
        unit="limit",
        many=True,
    )
    json: str = _report(text, "", "Write it as JSON; -: to standard output, without the table.", unit="file")
    html: str = _report(_page, "", "Write it as a page with plots.", unit="file")
    quiet: bool = _report(None, "", "Show no progress.")

    @property
    def streams(self) -> bool | None:
        """Whether to ask for streams; None: if the request can have one."""
        return True if self.stream else False if self.no_stream else None


_NEVER_EMPTY: Final = {"fail_if": "fail-if", "slo": "slo"}
"""Options that decide whether a test fails. A script whose variable is not set must not pass its test by that."""


@frozen(kw_only=True)
class LoadReading:
    """The result of `read`. With a URL there is no proxy, and `client` has only the settings that apply to a URL."""

    settings: LoadSettings
    client: ClientSettings
    secrets: tuple[str, ...] = field(repr=False)
    warnings: tuple[str, ...]


def command_rows() -> tuple[Option, ...]:
    """The rows of the command: its own, and those that it takes from the client."""
    section = "The client proxy, with --endpoint; as for `vespa-proxy client`"
    shared = [evolve(row, section=section) for row in rows(ClientSettings) if row.flag in CLIENT_OPTIONS]
    return (*rows(LoadSettings), *shared)


def read(given: Given, environ: Mapping[str, str]) -> LoadReading:
    """Read the command line and the environment. Raises SettingsError, which names every mistake."""
    reading = Reading(LoadSettings, environ, given)
    values, problems = reading.values, reading.problems
    if "requests" not in reading.sources and values["duration"]:
        values["requests"] = 0
    for attribute, flag in _NEVER_EMPTY.items():
        if not all(text.strip() for text in given.texts.get(flag, ())):
            problems[attribute] = f"--{flag} is empty, so nothing would be checked: give it a value, or leave it out"
    over = values["sweep"].over if values["sweep"] else ""
    if over in reading.sources:
        problems["sweep"] = f"--sweep {over}= and --{over}: use only one of them"
    if over == "concurrency" and "rps" in reading.sources:
        problems["sweep"] = "--sweep concurrency= is for a closed loop, without --rps; rates are --sweep rps="
    if "concurrency" not in reading.sources and (values["rps"] or over == "rps"):
        values["concurrency"] = 0
    values["rps"], values["duration"] = values["rps"] or 0.0, values["duration"] or 0.0
    _check_together(values, given, problems, over)
    hints: list[str] = []
    client, found = None, list(problems.values())
    try:
        client = _client(values, given, environ, to_url=bool(values["url"] or "url" in problems))
    except SettingsError as error:
        found += error.problems
        if any(problem.startswith("no endpoint") for problem in error.problems):
            hints.append("or give --url to send requests straight to a URL")
    if found or given.problems or client is None:
        hints += unknown_variables(environ, "VESPA_CLIENT_")
        raise SettingsError(list(dict.fromkeys([*given.problems, *found])), hints)
    return LoadReading(
        settings=reading.settings(),
        client=client.settings,
        secrets=(*reading.secrets, *client.secrets),
        warnings=client.warnings,
    )


def _check_together(values: Mapping[str, Any], given: Given, problems: dict[str, str], over: str) -> None:
    if values["poisson"] and not values["rps"] and over != "rps" and not {"rps", "sweep"} & problems.keys():
        problems["poisson"] = "--poisson needs --rps, or --sweep rps="
    if not (values["requests"] or values["duration"] or {"requests", "duration"} & problems.keys()):
        problems["requests"] = "-n 0 needs a --duration"
    if values["stream"] and values["no_stream"]:
        problems["stream"] = "--stream and --no-stream: use only one of them"
    if not values["slo"] and "slo" not in problems and any(each.metric == "goodput" for each in values["fail_if"]):
        problems["fail_if"] = "--fail-if: goodput needs objectives: add --slo, such as --slo ttft=500ms,tpot=50ms"
    if values["url"] and any(given.texts.get("endpoint", ())):
        problems["url"] = "--endpoint and --url: requests go either to an endpoint or to a URL"


def _client(
    values: Mapping[str, Any], given: Given, environ: Mapping[str, str], *, to_url: bool
) -> client_reading.ClientReading:
    """The client's settings: a free port of this machine, and no limit that would affect the measurement."""
    fixed: dict[str, Any] = {
        "port": 0,
        "host": "127.0.0.1",
        "max_connections": 0,
        "timeout": values["timeout"],
        "admin_listen": "",
    }
    given = Given(given.texts)
    if not to_url:
        return client_reading.read(given, environ, **fixed)
    reading = Reading(ClientSettings, {name: environ[name] for name in environ if name == "VESPA_TRANSPORT"}, given)
    hints = unknown_variables(environ, "VESPA_CLIENT_")
    return client_reading.ClientReading(settings=reading.settings(), secrets=reading.secrets, warnings=tuple(hints))
