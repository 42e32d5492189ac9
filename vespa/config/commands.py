"""The commands, with the options and variables of each."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from vespa.config.benchmark import BenchmarkSettings
from vespa.config.check import CheckSettings
from vespa.config.client import LIST, WORKERS, ClientSettings
from vespa.config.command_line import CommandLine
from vespa.config.demo import DemoSettings
from vespa.config.load import command_rows
from vespa.config.migrate import MigrateSettings
from vespa.config.other_programs import OTHERS
from vespa.config.schema import rows
from vespa.config.top import TopSettings
from vespa.config.worker import WorkerSettings

WORKER: Final = CommandLine(
    "vespa-proxy worker",
    "The Vast.ai worker, in the foreground; the same as `twistd -n --pidfile= vespa`. All of its settings are "
    "environment variables; VESPA_BACKEND_URL is always required.",
    (*rows(WorkerSettings), *OTHERS),
)
TWISTD_WORKER: Final = evolve(WORKER, command="twistd vespa")

CLIENT: Final = CommandLine(
    "vespa-proxy client",
    "A local proxy through which any HTTP client calls an endpoint of Vast.ai. Give keys as environment variables or "
    "in files, because every user can see a command line.",
    (*rows(ClientSettings), LIST, WORKERS),
)
TWISTD_CLIENT: Final = evolve(CLIENT, command="twistd vespa-client", rows=rows(ClientSettings))

LOAD: Final = CommandLine(
    "vespa-proxy load",
    "Send many requests to an endpoint of Vast.ai, or to any URL, and report the results. The requests come "
    "from a benchmark module's get_test_request().",
    command_rows(),
)
DEMO: Final = CommandLine(
    "vespa-proxy demo", "Show Vespa at work on this machine, without using the network.", rows(DemoSettings)
)
CHECK: Final = CommandLine(
    "vespa-proxy check",
    "Examine what a worker would meet in this environment, before or while it runs: settings, certificate, port, "
    "backend, benchmark, autoscaler, public URL. It sends no report and writes no file. Exit codes: 0 nothing failed, "
    "1 something failed, 2 wrong usage.",
    rows(CheckSettings),
)
BENCHMARK: Final = CommandLine(
    "vespa-proxy benchmark",
    "Measure a backend as a worker does, and show how the figure came about. Its other settings are the worker's "
    "variables: the backend's roots and key, the timeout, the file for --save, and those of the benchmark.",
    rows(BenchmarkSettings),
)
TOP: Final = CommandLine(
    "vespa-proxy top",
    "Show the figures of a running worker or client in a terminal, live, as its status page does. q or Ctrl-C ends it.",
    rows(TopSettings),
    operand="url",
)
MIGRATE: Final = CommandLine(
    "vespa-proxy migrate",
    "Read a PyWorker's file (its WorkerConfig), and print the environment with which Vespa does the same, "
    "with remarks on what has no setting. It runs the file, in a process of its own without network and without the "
    "values of secrets; the worker's server is not started. Exit codes: 0 Vespa can start with this environment, 1 "
    "something is missing, such as a benchmark, or the file could not be read, 2 wrong usage.",
    rows(MigrateSettings),
    operand="file",
)
SETTINGS: Final = CommandLine("vespa-proxy settings", "Print docs/settings.md: every setting of every command.")
VERSION: Final = CommandLine("vespa-proxy version", "Print the version.")
