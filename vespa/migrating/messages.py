"""
What `vespa-proxy migrate` and the process of a worker's file tell each other: one order, and answers, as JSON.

The file can do in its process what it wants, so an answer may be anything. checked_json.py reads it. Python's library
alone is used here, because the process has nothing else.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Final, Literal

MOST_BYTES: Final = 4 * 1024 * 1024
"""The size of all requests of a benchmark together, as JSON."""

Limit = int | float | str | None
"""A number that limits something. None: there is no limit. A text: what the file has in place of a number."""


@dataclass(frozen=True)
class Order:
    """
    What the process has to do: run `file` with `arguments`, for `seconds` at most, and write answers to `answer`.

    `stand_in`: do not use an installed package `vastai`.
    """

    file: str
    answer: str
    seconds: float
    stand_in: bool = False
    arguments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class End:
    """
    How the run ended: `type`, `message` and `module` (one that is missing) of an exception, and the place in the file.

    `line` is 0 if the place is not known.
    """

    how: Literal["served", "finished", "raised", "exited", "late", "unreadable"]
    type: str = ""
    message: str = ""
    module: str = ""
    file: str = ""
    line: int = field(default=0, metadata={"least": 0})
    source: str = ""


@dataclass
class Benchmark:
    """
    A benchmark. `requests` are pairs of JSON text and work, and come from `source`.

    `cut` is how many requests were left out, and `error` says why there are none.
    """

    runs: int = field(metadata={"least": 1})
    concurrency: int = field(metadata={"least": 1})
    warmup: bool
    source: str = ""
    requests: list[tuple[str, float]] = field(default_factory=list, metadata={"longest": MOST_BYTES})
    cut: int = field(default=0, metadata={"least": 0})
    error: str = ""


@dataclass
class Handler:
    """
    The handler of a route, which leads to `path` at the backend.

    `parser`, `generator`, `calculator`, `payload_class` and `handler_class` are the names of the functions and classes
    that it uses, "" for none. `parser_does` is what the parser does to a request, "other" if that is not known.
    """

    route: str
    path: str
    parallel: bool
    max_queue_time: Limit
    healthcheck: str = ""
    parser: str = ""
    generator: str = ""
    calculator: str = ""
    payload_class: str = ""
    handler_class: str = ""
    remote: bool = False
    benchmark: Benchmark | None = None
    parser_does: Literal["nothing", "input", "other"] = "other"


@dataclass(frozen=True)
class Patterns:
    """The texts in the backend's log that mean something to Vast's own worker."""

    on_load: list[str] = field(default_factory=list)
    on_error: list[str] = field(default_factory=list)
    on_info: list[str] = field(default_factory=list)


@dataclass
class Description:
    """What is known of a configuration. `left_out` counts the handlers that are too many."""

    backend_url: str
    log_file: str
    healthcheck_url: str
    max_sessions: Limit
    lifecycle: bool
    patterns: Patterns
    handlers: list[Handler]
    left_out: int = field(default=0, metadata={"least": 0})


@dataclass
class Answer:
    """
    What the process found out. `package` is the release of the package `vastai` that was used, "" for the stand-in.

    `package_error`: why the installed one was not used. `unknown` are fields that the stand-in does not have, `options`
    those of `run()`, `programs` what the file started, and `workers` how many it made.
    """

    end: End
    package: str = ""
    package_error: str = ""
    found: Description | None = None
    unknown: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    programs: list[str] = field(default_factory=list)
    workers: int = field(default=0, metadata={"least": 0})


def write(message: Order | Answer) -> str:
    """The message as ASCII on one line. Raises ValueError for a number that JSON does not have."""
    return json.dumps(dataclasses.asdict(message), allow_nan=False)
