"""Examines the functions that stop or follow the work of an engine: whether they can be imported."""

from __future__ import annotations

from vespa.checking.finding import Finding, failed, ok
from vespa.config.worker import WorkerSettings
from vespa.engines.choice import JOB_KINDS, STOPPERS
from vespa.worker.obstacles import function_problem


def check_engine(settings: WorkerSettings) -> list[Finding]:
    """A finding for each of VESPA_ABORT and VESPA_JOBS that is set."""
    findings = []
    if settings.abort:
        problem = function_problem("abort", settings.abort)
        findings.append(_finding("VESPA_ABORT", settings.abort, settings.abort in STOPPERS, problem, "docs/abort.md"))
    if settings.jobs:
        problem = function_problem("jobs", settings.jobs)
        findings.append(_finding("VESPA_JOBS", settings.jobs, settings.jobs in JOB_KINDS, problem, "docs/jobs.md"))
    return findings


def _finding(setting: str, value: str, known: bool, problem: str, page: str) -> Finding:
    if problem:
        return failed("engine", problem, f"correct {setting} or the module; {page} shows how to write a function")
    return ok("engine", f"{setting}={value}" if known else f"{setting}: {value} can be imported")
