"""Says in words what of a PyWorker has no equivalent among the settings, why, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from vespa.migrating.messages import Answer, Description, Handler
from vespa.migrating.plan import KNOWN, Plan, server_kind

_INPUT: Final = (
    'Callers may wrap the request in {"input": ...}. Vespa passes the payload on as it is, so callers have to send the '
    "inner object itself."
)
_BY_ROUTE: Final = (
    (
        "generator",
        "response_generator",
        "Vespa passes the backend's response on as it is. What the function does to it has to move into the backend or "
        "the callers.",
    ),
    (
        "payload_class",
        "payload_class",
        "Vespa passes the payload on as it is, and does not run it. Callers have to send what the backend takes.",
    ),
    (
        "handler_class",
        "handler_class",
        "Vespa runs no code of the class: it passes requests and responses on as they are.",
    ),
)


MORE: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "comfyui": (
        ("VESPA_JOBS", "comfyui", "keeps the worker busy until a job is done, not only until /prompt answers"),
        ("VESPA_ABORT", "comfyui", "stops the work of callers that hang up"),
    ),
    "comfyui wrapper": (("VESPA_ABORT", "comfyui-wrapper", "stops the work of callers that hang up"),),
    "openai": (("VESPA_USAGE", "openai", "counts the tokens that were really generated"),),
}
"""Settings for servers of each kind that Vast's own worker has nothing of: name, value, and what they do."""


def add_remarks(plan: Plan, found: Description, answer: Answer, hidden: Sequence[str]) -> None:
    """Add a remark for each part of the file that no setting stands for."""
    _about_routes(plan, found.handlers)
    _about_work(plan, found.handlers)
    _about_requests(plan, found.handlers)
    _about_logs(plan, found)
    _about_the_rest(plan, found, answer, hidden)
    for name, value, what in MORE.get(server_kind(found), ()):
        if name in KNOWN:
            plan.remark(f"{name}={value}", f"Vast's own worker has nothing like it, so it is not set: it {what}.")


def _where(handlers: Sequence[Handler], part: str) -> str:
    routes = [each.route for each in handlers]
    return f"{part} of {', '.join(routes[:5])}" + (f" and {len(routes) - 5} more" if len(routes) > 5 else "")


def _about_routes(plan: Plan, handlers: Sequence[Handler]) -> None:
    routes = [each.route for each in handlers] or ["/"]
    plan.remark(
        "handlers",
        f"Vast's own worker answers POST to {', '.join(routes[:8])}{' …' if len(routes) > 8 else ''} and 404 to the "
        "rest. Vespa passes every signed request on, whatever its method and path, and responses as they come.",
    )
    for handler in handlers:
        if handler.path != handler.route:
            plan.remark(
                f"endpoint of {handler.route}",
                f"It leads to {handler.path} at the backend. Vespa does not change paths: callers have to use "
                f"{handler.path}.",
            )


def _about_work(plan: Plan, handlers: Sequence[Handler]) -> None:
    if counted := [each for each in handlers if each.calculator or each.payload_class]:
        example = next(
            (
                f" For the first request of the benchmark it is {each.benchmark.requests[0][1]:g}."
                for each in counted
                if each.benchmark and each.benchmark.requests
            ),
            "",
        )
        plan.remark(
            _where(counted, "workload_calculator"),
            "Vespa counts the `cost` that the caller asked the autoscaler for, which is signed. "
            f"Callers have to give what the function returns as `cost`.{example}",
        )
    if plain := [each for each in handlers if not each.calculator and not each.payload_class]:
        plan.remark(
            _where(plain, "workload_calculator"),
            "There is none, so Vast's own worker counts 100 for each request. Vespa counts the caller's `cost`: "
            "callers have to give 100.",
        )


def _about_requests(plan: Plan, handlers: Sequence[Handler]) -> None:
    def parsed(*effects: str) -> list[Handler]:
        return [each for each in handlers if each.parser and each.parser_does in effects]

    if unwrapped := parsed("input"):
        plan.remark(_where(unwrapped, "request_parser"), _INPUT)
    if unknown := parsed("other"):
        plan.remark(
            _where(unknown, "request_parser"),
            "Vespa passes the payload on as it is, and does not run it. Callers have to send what it returns.",
        )
    if unchanged := parsed("nothing"):
        plan.remark(_where(unchanged, "request_parser"), "It does not change the benchmark's requests: nothing to do.")
    for part, official, text in _BY_ROUTE:
        if users := [each for each in handlers if getattr(each, part)]:
            plan.remark(_where(users, official), text)
    if remote := [each for each in handlers if each.remote]:
        plan.remark(
            _where(remote, "remote_function"),
            "Vespa calls no Python functions. Put the function behind an HTTP server, and make that the backend.",
        )


def _about_logs(plan: Plan, found: Description) -> None:
    patterns = found.patterns
    if patterns.on_load or patterns.on_error or found.log_file:
        path = plan.environment.get("VESPA_HEALTHCHECK_ENDPOINT", "off")
        how = "the benchmark succeeds" if path == "off" else f"{path} answers 2xx"
        plan.remark(
            "model_log_file, on_load, on_error",
            f"Vespa reads no log. The model is loaded once {how}; an error is reported when the path fails three times "
            "in a row (VESPA_HEALTHCHECK_CONSECUTIVE_FAILURES), or is not there after VESPA_READY_TIMEOUT_INITIAL "
            "(1200 s): raise that if loading takes longer.",
        )
    if patterns.on_info:
        plan.remark("on_info", "Vespa does not repeat lines of the backend's log. Read them in its own file.")
    if found.lifecycle:
        plan.remark(
            "lifecycle",
            "Vespa starts and stops no backend. Start it before Vespa or beside it, as a service of its own.",
        )


def _about_the_rest(plan: Plan, found: Description, answer: Answer, hidden: Sequence[str]) -> None:
    options = {name: value for name, value in answer.options.items() if name}
    if options:
        given = ", ".join(f"{name}={value}" for name, value in options.items())
        plan.remark("run()", f"It has options ({given}). Another address to listen at is set by VESPA_LISTEN.")
    if answer.programs:
        plan.remark(
            ", ".join(dict.fromkeys(answer.programs[:8])),
            "The file starts this itself. Vespa starts no programs: if it is the model server, start it before Vespa, "
            "in the template's on-start script.",
        )
    if answer.unknown:
        plan.remark(
            ", ".join(answer.unknown[:8]),
            "The package's release 1.9.1 has no such field. It was left out.",
        )
    if answer.workers > 1:
        plan.remark("Worker", f"The file makes {answer.workers} workers. This is about the last one.")
    if found.left_out:
        plan.remark("handlers", f"There are more than are read: {found.left_out} were left out.")
    if hidden:
        plan.remark(
            "environment",
            f"The file ran without the values of {', '.join(hidden[:12])}{' …' if len(hidden) > 12 else ''}, which "
            "look like secrets: each was replaced by its name.",
        )
