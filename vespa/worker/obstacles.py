"""What keeps a worker with these settings from working, beyond mistakes in the settings: one sentence each."""

from __future__ import annotations

from typing import Literal

from vespa.config.worker import WorkerSettings
from vespa.engines.choice import job_kind, stopper
from vespa.proxy.listener import cannot_listen
from vespa.runtime.local_addresses import is_loopback
from vespa.runtime.trust import trust_roots
from vespa.transport.endpoint_problem import endpoint_problem

_EXAMPLE = "tcp:3000:interface=127.0.0.1 or unix:/run/vespa.sock"
_ADMIN_EXAMPLE = "tcp:9464:interface=127.0.0.1, unix:/run/vespa-admin.sock or off"


def file_problem(reactor: object, settings: WorkerSettings) -> str:
    """An error in the endpoints, their certificates or the roots that only loading them shows; or ""."""
    files = "" if settings.listen else "VESPA_SSL_CERT_FILE and VESPA_SSL_KEY_FILE name"
    problem = endpoint_problem(reactor, settings.endpoint, "VESPA_LISTEN", _EXAMPLE, files)
    if not problem and settings.admin_listen:
        problem = endpoint_problem(reactor, settings.admin_listen, "VESPA_ADMIN_LISTEN", _ADMIN_EXAMPLE)
    if problem:
        return problem
    try:
        trust_roots(settings.backend_ca_file)
    except (OSError, ValueError) as error:
        return f"VESPA_BACKEND_CA_FILE={settings.backend_ca_file!r}: {error or type(error).__name__}"
    return function_problem("abort", settings.abort) or function_problem("jobs", settings.jobs)


def function_problem(setting: Literal["abort", "jobs"], value: str) -> str:
    """Why the user's function in one of these settings cannot be used, which only importing it shows; or ""."""
    try:
        if value:
            (stopper if setting == "abort" else job_kind)(value)
    except ValueError as error:
        return f"VESPA_{setting.upper()}={value}: {error}"
    return ""


def listen_problem(settings: WorkerSettings, error: Exception) -> str:
    """One sentence: why the worker's port cannot be opened, and what to change."""
    if settings.listen:
        return cannot_listen(settings.listen, error, "VESPA_LISTEN")
    where = f"{settings.interface} port {settings.worker_port}"
    return cannot_listen(where, error, "VESPA_WORKER_PORT")


def unreachable(settings: WorkerSettings) -> str:
    """The reason why clients cannot reach a worker that reports to the autoscaler; "" if the settings allow it."""
    if settings.secured or settings.unsecured_public or settings.listen or is_loopback(settings.public_ipaddr):
        return ""  # a loopback address belongs to a simulated endpoint on this machine
    return (
        f"VESPA_UNSECURED=true listens on this machine alone, at port {settings.worker_port}, where no client of the "
        "endpoint can reach it: unset VESPA_UNSECURED, or unset CONTAINER_ID to send no reports"
    )
