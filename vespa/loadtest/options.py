"""The command line of `vespa-proxy load`, as values. What the client proxy takes is read as the client itself does."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from attrs import evolve, frozen

from vespa.config.client import ClientSettings
from vespa.config.client_options import OPTIONS
from vespa.config.client_reading import OptionsError, read
from vespa.loadtest.plan import Plan
from vespa.transport.origin import Origin

DESCRIPTION: Final = """\
Send many requests to an endpoint of Vast.ai, or to any URL, and report what became of them. What is sent comes from a
benchmark module's get_test_request()."""

AT_ONCE: Final = 10
"""The places of a closed loop, where nothing is said."""

# Of the client's options those that make sense for a proxy that only this test uses.
CLIENT_OPTIONS: Final = (
    "api-key account-key instance autoscaler-url console-url worker-ca dialect attempts max-connections-per-host debug"
).split()


class BadOptions(Exception):
    """The command line is of no use; says why."""


@frozen(kw_only=True)
class LoadOptions:
    """What was asked for. `settings` is None where the requests go straight to `url`."""

    plan: Plan
    url: str = ""
    settings: ClientSettings | None = None
    benchmark: str = ""
    stream: bool | None = None
    headers: Mapping[str, str] = {}
    worker_ca: str = ""
    seed: int | None = None
    json: str = ""
    html: str = ""
    quiet: bool = False
    debug: bool = False
    warnings: tuple[str, ...] = ()


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> LoadOptions:
    """Read the command line. Raises BadOptions; SystemExit for --help."""
    given = make_parser().parse_args(argv)
    requests = given.requests
    if requests is None:
        requests = 0 if given.duration else Plan().requests
    if given.poisson and not given.rps:
        raise BadOptions("--poisson is about the arrivals that --rps asks for")
    if not requests and not given.duration:
        raise BadOptions("-n 0 needs a --duration")
    plan = Plan(
        requests=requests,
        rps=given.rps or 0.0,
        poisson=given.poisson,
        concurrency=given.concurrency or (0 if given.rps else AT_ONCE),
        duration=given.duration or 0.0,
        timeout=given.timeout,
        warmup=given.warmup,
    )
    if given.html == "-":
        raise BadOptions("--html: must be a file; only --json can be written to standard output")
    options = LoadOptions(
        plan=plan,
        benchmark=given.benchmark or environ.get("VESPA_BENCHMARK", "").strip() or "benchmarks.openai_chat",
        stream=given.stream,
        headers=_headers(given.header),
        worker_ca=given.worker_ca or "",
        seed=given.seed,
        json=given.json,
        html=given.html,
        quiet=given.quiet,
        debug=given.debug,
    )
    if given.url:
        if given.endpoint:
            raise BadOptions("--endpoint and --url: requests go either to an endpoint or to a URL")
        return evolve(options, url=_url(given.url))
    settings, warnings = _settings(vars(given), environ, plan)
    return evolve(options, settings=settings, warnings=warnings)


def _settings(
    given: Mapping[str, Any], environ: Mapping[str, str], plan: Plan
) -> tuple[ClientSettings, tuple[str, ...]]:
    texts: dict[str, list[str]] = {"endpoint": [given["endpoint"]] if given["endpoint"] else []}
    for row in OPTIONS:
        if row.flag in CLIENT_OPTIONS and (value := given[row.flag.replace("-", "_")]):
            texts[row.flag] = ["" if row.parse is None else value]
    # Any free port of this machine, and no cap of the proxy's own on what is measured.
    texts |= {"port": ["0"], "host": ["127.0.0.1"], "max-connections": ["0"], "timeout": [f"{plan.timeout:f}"]}
    try:
        reading = read(texts, environ)
    except OptionsError as error:
        message = str(error)
        if not texts["endpoint"] and not environ.get("VAST_ENDPOINT", "").strip():
            message += "\n  or give --url to send requests straight to a URL"
        raise BadOptions(message) from None
    return reading.settings, reading.warnings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadOptions(message)


def make_parser() -> argparse.ArgumentParser:
    """What reads the command line, and writes its help."""
    # No abbreviations, and no values in messages: one might be a key.
    parser = _Parser(prog="vespa-proxy load", description=DESCRIPTION, allow_abbrev=False)
    where = parser.add_argument_group("where to")
    where.add_argument(
        "-e", "--endpoint", metavar="NAME", help="an endpoint, by a client proxy of its own [VAST_ENDPOINT]"
    )
    where.add_argument("--url", help="a base URL: an unsecured worker, a local proxy, a bare backend")
    where.add_argument(
        "-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a further header; may be repeated"
    )
    what = parser.add_argument_group("what")
    what.add_argument(
        "-b",
        "--benchmark",
        metavar="MODULE",
        help="a module, or a file.py, with get_test_request() [default: VESPA_BENCHMARK, or benchmarks.openai_chat]",
    )
    what.add_argument("--stream", action="store_true", default=None, help="ask for streams [default: where it can be]")
    what.add_argument("--no-stream", dest="stream", action="store_false", help="ask for whole responses")
    what.add_argument("--seed", type=_whole, help="repeats prompts and random arrivals")
    how = parser.add_argument_group("how much")
    how.add_argument("-n", "--requests", type=_whole, help="how many [default: 100, or as many as --duration allows]")
    how.add_argument("--rps", type=_positive, help="requests a second, whatever becomes of them (open loop)")
    how.add_argument("--poisson", action="store_true", help="with --rps: at random, as from many people")
    how.add_argument(
        "--concurrency",
        type=_positive_whole,
        help=f"so many at a time (closed loop) [default: {AT_ONCE}]; with --rps: the most that may be under way",
    )
    how.add_argument("--duration", type=_positive, metavar="SECONDS", help="how long to send")
    how.add_argument(
        "--timeout", type=_positive, default=Plan().timeout, metavar="SECONDS", help="the most a request may take [600]"
    )
    how.add_argument("--warmup", type=_whole, default=0, metavar="N", help="requests sent before, and not counted")
    out = parser.add_argument_group("the report")
    out.add_argument("--json", default="", metavar="FILE", help="write it as JSON; - for standard output, alone")
    out.add_argument("--html", default="", metavar="FILE", help="write it as a page with plots")
    out.add_argument("--quiet", action="store_true", help="no progress")
    client = parser.add_argument_group("the client proxy, with --endpoint", "As for `vespa-proxy client`.")
    for row in OPTIONS:
        if row.flag in CLIENT_OPTIONS:
            usage = row.usage.replace("%", "%%")
            if row.parse is None:
                client.add_argument(f"--{row.flag}", action="store_true", help=usage)
            else:
                client.add_argument(f"--{row.flag}", metavar=(row.unit or "value").upper(), help=usage)
    return parser


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise argparse.ArgumentTypeError("must be a whole number, 0 or more")
    return int(text)


def _positive_whole(text: str) -> int:
    if _whole(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        is_name = name and all(character.isalnum() or character == "-" for character in name) and name.isascii()
        if not colon or not is_name or not value.strip().isprintable() or not value.isascii():
            raise BadOptions("--header: must be 'Name: value', in printable ASCII")
        headers[name] = value.strip()
    return headers


def _url(text: str) -> str:
    try:
        origin = Origin.parse(text)
    except ValueError as error:
        raise BadOptions(f"--url: {error}") from None
    if origin.socket:
        raise BadOptions("--url: must begin with http:// or https://")
    return text.rstrip("/")
