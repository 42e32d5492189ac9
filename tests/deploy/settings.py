"""The settings that a file in `deploy/` makes, read as the worker and the client read them; and what it counts on."""

from __future__ import annotations

from collections.abc import Mapping

from tests.deploy.files import DEPLOY, TOKEN, dockerfile
from vespa.config.client import ClientSettings
from vespa.config.client_reading import read as read_client
from vespa.config.commands import CLIENT
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import read as read_worker

IMAGE_ENVIRONMENT = dict(
    word.split("=", 1)
    for each in dockerfile(DEPLOY / "Dockerfile")
    if each.name == "ENV"
    for word in each.text.split()
    if word.startswith("VESPA_")
)


METRICS = {"vespa_workload_in_flight", "vespa_requests_queued", "vespa_benchmark_throughput"}
"""The metrics by which pods are scaled."""


def worker_settings(environ: Mapping[str, str]) -> WorkerSettings:
    """The settings of a worker. Raises AssertionError for a mistake, or for what deserves a warning."""
    found = read_worker(environ, read_text=lambda path: TOKEN)
    if found.error is not None or found.warnings:
        raise AssertionError(found.error or found.warnings)
    return found.settings


def client_settings(arguments: list[str], environ: Mapping[str, str]) -> ClientSettings:
    """The settings of a client. Raises AssertionError for what deserves a warning, SettingsError for a mistake."""
    found = read_client(CLIENT.parse(arguments), environ)
    if found.warnings:
        raise AssertionError(found.warnings)
    return found.settings


def port_of(listen: str) -> int:
    """The port in an endpoint string such as tcp:9464:interface=127.0.0.1."""
    return int(listen.split(":")[1])
