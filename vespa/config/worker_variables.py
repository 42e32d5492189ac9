"""Every variable that the worker reads."""

from __future__ import annotations

from functools import partial
from typing import Literal

from attrs import frozen

from vespa.accounting.replay_guard import ReplayMode
from vespa.config.schema import variable
from vespa.config.values import (
    Number,
    benchmark,
    boolean,
    choice,
    endpoint_or_off,
    key,
    path_or_off,
    place_or,
    port_or_off,
    positive_seconds,
    protocol,
    seconds,
    text,
    whole,
)
from vespa.config.worker_surroundings import WorkerSurroundings
from vespa.vast.signature import SignatureMode

_signatures = partial(variable, section="Signatures")
_admission = partial(variable, section="Admission")
_sessions = partial(variable, section="Sessions")
_readiness = partial(variable, section="Readiness")
_engine = partial(variable, section="The engine's own interface")
_reports = partial(variable, section="Reports")
_limits = partial(variable, section="Limits on clients")
_observability = partial(variable, section="Observability")


@frozen(kw_only=True)
class WorkerVariables(WorkerSurroundings):
    """Every variable that the worker reads, in the order of the documentation."""

    signature: SignatureMode = _signatures(
        choice("any", "full", "url"),
        "any",
        "Accepted forms of signatures: `full` (all fields), `url` (the address) or `any`.",
    )
    check_url: bool = _signatures(boolean, "true", "Refuse requests signed for another worker's address.")
    replay: ReplayMode = _signatures(
        choice("off", "warn", "reject"),
        "off",
        "What to do with a repeated assignment: `off` (nothing), `warn` (log it), `reject`.",
    )
    replay_capacity: int = _signatures(whole(1), "100000", "Number of assignments to remember.")
    max_cost: float | None = _signatures(
        Number(0, above=True), None, "Highest cost of a request; unset: ten minutes of the measured throughput, or 1e9."
    )
    max_unverified: int = _signatures(whole(0, unit="bytes"), "1048576", "Limit of a body before it is verified.")
    pubkey_max_retries: int = _signatures(whole(1), "3", "Tries for the autoscaler's key before a longer pause.")
    pubkey_timeout: float = _signatures(positive_seconds, "10", "Limit of one try.")

    allow_parallel: bool = _admission(boolean, "true", "False: one request at a time, in order.")
    max_concurrency: int = _admission(whole(0), "0", "Maximum of requests at once at each backend; 0: no limit.")
    max_wait_time: float = _admission(seconds, "10.0", "Estimated wait over which a request gets 429.")
    max_queue: int = _admission(whole(0), "1000", "Maximum of requests that wait for a slot.")
    queue_timeout: float = _admission(seconds, "300", "Longest wait for a slot; 0: no limit.")
    max_tunnels: int = _admission(
        whole(0), "1000", "Maximum of upgraded connections (WebSockets), which need no slot; 0: no limit."
    )
    tunnel_idle_timeout: float = _admission(seconds, "3600", "When an idle upgraded connection is closed; 0: never.")
    usage: Literal["off", "openai"] = _admission(
        choice("off", "openai"),
        "off",
        "`openai`: the tokens that responses report are the work that was done. For backends whose cost is tokens.",
    )
    usage_count: Literal["auto", "completion", "total"] = _admission(
        choice("auto", "completion", "total"),
        "auto",
        "Which tokens: `completion` (generated), `total` (with the prompt), `auto` (as `BENCHMARK_COUNT` says).",
    )
    recalibrate: bool = _admission(
        boolean,
        "false",
        "Estimate the true throughput from served requests, and use it between half and twice the benchmark's figure.",
    )

    max_sessions: int = _sessions(whole(0), "10", "Maximum of sessions at once; 0: none.")
    max_session_lifetime: float = _sessions(
        positive_seconds, "3600", "Longest lifetime of a session, and the longest time without a request in it."
    )
    http_port: int | None = _sessions(
        port_or_off,
        None,
        "The port for the backend's own `/session/end`, without TLS and for this machine only; unset: the worker's "
        "port + 1, `off`: none. It opens with the first session.",
        fallback="WORKER_HTTP_PORT",
    )

    benchmark: str = _readiness(
        benchmark, "", "Required unless unsecured. The benchmark: `module:function` or `/a.py:function`."
    )
    benchmark_cache_file: str = _readiness(text, ".has_benchmark", "The file that keeps its result.")
    benchmark_timeout: float = _readiness(positive_seconds, "600", "Limit of the benchmark.")
    healthcheck_endpoint: str = _readiness(
        path_or_off, "/health", "The path that answers 2xx if healthy; `off`: no probes."
    )
    healthcheck_retry_interval: float = _readiness(positive_seconds, "5", "Between probes while the backend loads.")
    healthcheck_poll_interval: float = _readiness(positive_seconds, "10", "Between probes when it is ready.")
    healthcheck_timeout: float = _readiness(positive_seconds, "10", "Limit of one probe.")
    healthcheck_consecutive_failures: int = _readiness(whole(1), "3", "Failed probes in a row until an error.")
    ready_timeout_initial: float = _readiness(positive_seconds, "1200", "Limit for loading at the first start.")
    ready_timeout_resume: float = _readiness(positive_seconds, "300", "Limit for loading with a stored result.")

    abort: str = _engine(
        place_or("comfyui", "comfyui-wrapper", "sglang"),
        "",
        "How to stop the engine when a caller hangs up: `comfyui`, `comfyui-wrapper`, `sglang` or `module:function`.",
    )
    abort_timeout: float = _engine(positive_seconds, "10", "When a stopped request's slot is freed in any case.")
    jobs: str = _engine(
        place_or("comfyui", "comfyui-wrapper"),
        "",
        "Whose jobs outlive their request, and are followed: `comfyui`, `comfyui-wrapper` or `module:function`.",
    )
    job_timeout: float = _engine(positive_seconds, "600", "Limit of a job; after it the job counts as failed.")
    job_poll_interval: float = _engine(positive_seconds, "1", "Time between two questions whether a job is done.")
    job_result_time: float = _engine(seconds, "600", "How long after its end the result of a job may be fetched.")

    metrics_update_interval: float = _reports(positive_seconds, "1", "Between checks for changes to report.")
    delete_requests_interval: float = _reports(positive_seconds, "1", "Between reports of finished requests.")
    metrics_retry_delay: float = _reports(seconds, "2", "Pause before the addresses are tried again.")
    metrics_max_retries: int = _reports(whole(1), "3", "Rounds over the addresses for one report.")
    metrics_timeout: float = _reports(positive_seconds, "10", "Limit of one try.")
    metrics_connection_limit: int = _reports(whole(1), "8", "Maximum of connections to the autoscaler.")
    metrics_connection_limit_per_host: int = _reports(whole(1), "4", "Maximum of connections to one address.")
    delete_backlog: int = _reports(whole(1), "100000", "Finished requests kept while the autoscaler is away.")
    force_update_file: str = _reports(text, "/.force_update", "Written when Vast requests an update of the worker.")
    report_version: str = _reports(text, "1.1.0", "The version in reports: that of Vast's own worker.")

    head_limit: int = _limits(whole(1024, unit="bytes"), "32768", "Maximum size of a request's head.")
    head_fields: int = _limits(whole(32, 10000), "128", "Maximum of fields in a head of a request or response.")
    upgrades: tuple[str, ...] = _limits(
        protocol, "websocket", "Protocols to which a client may switch (`Upgrade`); others are removed.", many=True
    )
    head_timeout: float = _limits(positive_seconds, "10", "Limit of a whole head.")
    body_min_rate: int = _limits(
        whole(0, unit="bytes/s"),
        "128",
        "Minimum rate of a body before its signature is known, in any 10 s; 0: no limit.",
    )
    body_idle_timeout: float = _limits(seconds, "60", "Longest silence in the body of a verified request; 0: no limit.")
    write_stall_timeout: float = _limits(seconds, "60", "When a client that reads nothing is cut off; 0: never.")
    keepalive_timeout: float = _limits(seconds, "30", "How long an idle connection is kept; 0: no limit.")
    tcp_keepalive: int = _limits(
        whole(0, unit="seconds"), "60", "Silence after which the system probes a client's connection; 0: never."
    )
    pipeline_limit: int = _limits(whole(0, unit="bytes"), "65536", "Maximum size of held pipelined requests.")
    unverified_total: int = _limits(
        whole(0, unit="bytes"), "67108864", "Limit of all bodies before they are verified; then 503. 0: no limit."
    )
    held_limit: int = _limits(
        whole(0, unit="bytes"), "268435456", "Limit of the data held for all connections; then 503. 0: no limit."
    )
    inbound_limit: int = _limits(
        whole(1),
        "10000",
        "Maximum of connections, if the system allows twice as many open files. New ones replace idle ones.",
    )
    inbound_limit_per_address: int = _limits(whole(0), "0", "Maximum of connections from one address; 0: no limit.")

    admin_listen: str = _observability(
        endpoint_or_off,
        "tcp:9464:interface=127.0.0.1",
        "The Twisted endpoint string of status page and metrics; `off`: none. A taken default port moves on.",
    )
    admin_token: str = _observability(
        key, "", "The bearer token for them; required unless only this machine can connect.", secret=True
    )
    admin_token_file: str = _observability(text, "", "A file with that token, instead of the variable.")
    access_log: Literal["off", "failures", "all"] = _observability(
        choice("off", "failures", "all"), "failures", "Which requests get a line in the log: `off`, `failures`, `all`."
    )
    log_format: str = _observability(
        choice("auto", "text", "json"),
        "auto",
        "`text` or `json`; `auto`: text on a terminal and on Vast.ai, otherwise JSON.",
    )
    request_id: bool = _observability(
        boolean, "false", "Make an `X-Request-Id` for each request without one, and pass it on to the backend."
    )
    otlp_endpoint: str = _observability(
        text,
        "",
        "A collector of OpenTelemetry, to which spans are sent over OTLP; needs the extra `otlp`.",
        name="OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    server_timing: bool = _observability(
        boolean, "false", "Add `Server-Timing` to each response; to those of Vespa's own it always is."
    )
    queue_pings: bool = _observability(
        boolean, "false", "Tell callers of event streams their place in the queue, in comments."
    )
    stream_errors: bool = _observability(
        boolean,
        "false",
        "End an event stream that breaks with an `error` event, which libraries raise.",
    )
