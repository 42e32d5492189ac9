"""What a description of a PyWorker becomes: settings of Vespa, and what is missing before Vespa can start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from attrs import define, field, frozen

from vespa.config.schema import Option, rows
from vespa.config.worker import WorkerSettings
from vespa.migrating.messages import Benchmark, Description, Handler, Limit
from vespa.protocol.urls import BaseURL

NO_LIMIT_SECONDS: Final = 86400
"""Stands for no limit of the wait: a day."""
QUEUE_SECONDS: Final = 300.0
"""The default of VESPA_QUEUE_TIMEOUT."""
OFFICIAL_SESSIONS: Final = 10
MOST_SESSIONS: Final = 10_000
"""Stands for no limit of sessions."""

KNOWN: Final[Mapping[str, Option]] = {row.name: row for row in rows(WorkerSettings)}
"""The worker's settings."""
_HEALTH: Final = {"openai": "/health", "tgi": "/health", "comfyui wrapper": "/health", "comfyui": "/system_stats"}
_BUILT_IN: Final = {
    "openai": "benchmarks.openai_chat:benchmark",
    "tgi": "benchmarks.tgi:benchmark",
    "comfyui wrapper": "benchmarks.comfyui:benchmark",
}
_LOCAL: Final = frozenset({"0.0.0.0", "127.0.0.1", "localhost", "::", "::1"})


@frozen
class Setting:
    """One variable of Vespa's, and what of the file it comes from."""

    name: str
    value: str
    source: str


@frozen
class Remark:
    """A sentence about a part of the file."""

    about: str
    text: str


@define
class Plan:
    """The settings in the order to print them; what is missing, without which Vespa does not start; other remarks."""

    settings: list[Setting] = field(factory=list)
    missing: list[Remark] = field(factory=list)
    remarks: list[Remark] = field(factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The settings by name."""
        return {each.name: each.value for each in self.settings}

    def set(self, name: str, value: str, source: str) -> bool:
        """Add a setting. If Vespa would refuse the value, that is missing instead. Returns whether it was added."""
        row = KNOWN[name]
        try:
            if row.parse is not None:
                row.parse(value)
        except ValueError as error:
            self.missing.append(Remark(source, f"{name} cannot be {row.shown(value)}: {error}. Set it yourself."))
            return False
        self.settings.append(Setting(name, value, source))
        return True

    def remark(self, about: str, text: str) -> None:
        """Add a remark."""
        self.remarks.append(Remark(about, text))


def make_plan(found: Description, benchmark: str = "") -> Plan:
    """The plan for a description. `benchmark` is the value of VESPA_BENCHMARK if a benchmark module is written."""
    plan = Plan()
    kind = server_kind(found)
    _set_backend(plan, found)
    _set_health(plan, found, kind)
    _set_admission(plan, found.handlers)
    _set_sessions(plan, found.max_sessions)
    _set_benchmark(plan, found, kind, benchmark)
    return plan


def server_kind(found: Description) -> str:
    """Which server the backend is, by its routes and patterns: a key of the tables above, or "" if unknown."""
    paths = {handler.path for handler in found.handlers}
    if any(path.startswith("/v1/") for path in paths):
        return "openai"
    if "/generate/sync" in paths:
        return "comfyui wrapper"
    patterns = " ".join(found.patterns.on_load)
    if "/generate_stream" in paths or "text_generation" in patterns:
        return "tgi"
    return "comfyui" if "/prompt" in paths else ""


def measured_handler(found: Description) -> tuple[Handler, Benchmark] | None:
    """
    The handler that Vast's own worker measures, with its benchmark; None if there is none.

    It refuses to start if there are two.
    """
    return next(((each, each.benchmark) for each in found.handlers if each.benchmark is not None), None)


def _set_backend(plan: Plan, found: Description) -> None:
    url, source = found.backend_url, "model_server_url, model_server_port"
    if not url:
        plan.missing.append(Remark(source, "VESPA_BACKEND_URL: the file names no model server. Set it yourself."))
        return
    if "://" not in url and not url.startswith("unix:"):
        url = f"http://{url}"
    scheme, mark, rest = url.partition("://")
    host, colon, port = rest.rpartition(":")
    url = f"{scheme}{mark}{host.rstrip('/')}{colon}{port}" if colon and port.isdigit() else url
    if plan.set("VESPA_BACKEND_URL", url.rstrip("/"), source) and all(each.remote for each in found.handlers):
        if found.handlers:
            plan.missing.append(
                Remark(
                    "remote_function",
                    "Every route calls a Python function in the worker's own process. Vespa passes requests on to an "
                    "HTTP server and calls no functions: put them behind one, and name it in VESPA_BACKEND_URL.",
                )
            )


def _set_health(plan: Plan, found: Description, kind: str) -> None:
    name = "VESPA_HEALTHCHECK_ENDPOINT"
    given = found.healthcheck_url
    source = "model_healthcheck_url"
    if not given:
        given = next((each.healthcheck for each in found.handlers if each.healthcheck), "")
        source = "healthcheck of a handler"
    path = _path_at_backend(given, plan.environment.get("VESPA_BACKEND_URL", ""))
    if path:
        plan.set(name, path, source)
    elif path == "" and given:
        plan.set(name, _HEALTH.get(kind, "off"), f"in place of {source}")
        plan.remark(
            source,
            f"It is at another server than the backend, and Vespa probes the backend alone. {name} is a guess: set it "
            "to a path of the backend that answers 2xx once the model is loaded.",
        )
    elif kind:
        plan.set(name, _HEALTH[kind], "no model_healthcheck_url; the usual path of such a server")
    else:
        plan.set(name, "off", "no model_healthcheck_url")
        plan.remark(
            "model_healthcheck_url",
            "The file has none. Vespa then takes the backend as healthy from the start, and repeats the benchmark "
            f"until it succeeds. If a path of the backend answers 2xx once the model is loaded, set {name} to it.",
        )


def _path_at_backend(given: str, backend: str) -> str:
    """The path and query of a health URL; "" if it is at another server than the backend."""
    if "://" not in given:
        return "/" + given.lstrip("/") if given else ""
    try:
        parts = urlsplit(given)
        asked = BaseURL.parse(f"{parts.scheme}://{parts.netloc}")
        own = BaseURL.parse(backend)
    except ValueError:
        return ""
    same_host = asked.host == own.host or {asked.host, own.host} <= _LOCAL
    if not same_host or asked.port != own.port:
        return ""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _set_admission(plan: Plan, handlers: Sequence[Handler]) -> None:
    parallel = [each.route for each in handlers if each.parallel]
    serial = [each.route for each in handlers if not each.parallel]
    plan.set("VESPA_ALLOW_PARALLEL", "false" if serial or not handlers else "true", "allow_parallel_requests")
    if parallel and serial:
        plan.remark(
            "allow_parallel_requests",
            f"It is on for {_list(parallel)} and off for {_list(serial)}. Vespa has one setting for all routes, and "
            "false is the safe one: one request at a time. If the backend can take several, set "
            "VESPA_ALLOW_PARALLEL=true, and maybe VESPA_MAX_CONCURRENCY.",
        )
    given = [each.max_queue_time for each in handlers] or [30.0]
    wrong = [each for each in given if isinstance(each, str)]
    if wrong:
        plan.missing.append(Remark("max_queue_time", f"{wrong[0]!r} is no number. Set VESPA_MAX_WAIT_TIME yourself."))
        return
    numbers = [each for each in given if isinstance(each, int | float)]
    longest = NO_LIMIT_SECONDS if None in given else max(0.0, *numbers)
    plan.set("VESPA_MAX_WAIT_TIME", f"{longest:.15g}", "max_queue_time")
    if len(set(given)) > 1:
        plan.remark(
            "max_queue_time",
            "It differs between the routes. Vespa has one limit for all, and the longest is taken.",
        )
    if serial and longest > QUEUE_SECONDS:
        plan.set("VESPA_QUEUE_TIMEOUT", f"{longest:.15g}", "max_queue_time: a wait for a slot may last as long")


def _set_sessions(plan: Plan, most: Limit) -> None:
    """Sessions: 0 and None are no limit there, and less than 0 is none at all; 0 is none here."""
    if "VESPA_MAX_SESSIONS" not in KNOWN or most == OFFICIAL_SESSIONS:
        return
    if isinstance(most, int) and most < 0:
        most = 0
    elif not most:
        most = MOST_SESSIONS
        plan.remark("max_sessions", f"There is no limit. Vespa needs one, and it is {MOST_SESSIONS}.")
    plan.set("VESPA_MAX_SESSIONS", str(most), "max_sessions")


def _set_benchmark(plan: Plan, found: Description, kind: str, benchmark: str) -> None:
    measured = measured_handler(found)
    count = sum(each.benchmark is not None for each in found.handlers)
    if count > 1:
        plan.remark("benchmark_config", "More than one handler has one, and Vast's own worker would not start so.")
    if measured is not None and measured[1].requests and benchmark:
        plan.set("VESPA_BENCHMARK", benchmark, f"the benchmark of {measured[0].route}")
        return
    why = "The file has no benchmark (Vast's own worker would not start so)."
    calculator = None
    if measured is not None:
        handler, own = measured
        calculator = bool(handler.calculator)
        why = f"The benchmark of {handler.route} cannot be taken over: {own.error}."
        if own.requests:
            why = f"The file has a benchmark of {handler.route}: --benchmark FILE.py writes it as a module."
    if kind in _BUILT_IN and calculator == (kind != "comfyui wrapper"):
        plan.set("VESPA_BENCHMARK", _BUILT_IN[kind], "built into Vespa, for such a server")
        unit = "100 a request" if kind == "comfyui wrapper" else "generated tokens"
        plan.remark("benchmark_config", f"{why} The built-in one is set; its unit of work is {unit}.")
    else:
        plan.missing.append(Remark("benchmark_config", f"VESPA_BENCHMARK: {why} BENCHMARKS.md says how to write one."))


def _list(routes: Sequence[str]) -> str:
    shown = ", ".join(routes[:5])
    return shown if len(routes) <= 5 else f"{shown} and {len(routes) - 5} more"
