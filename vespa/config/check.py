"""Every option of `vespa-proxy check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from vespa.config.reader import Given, Reading
from vespa.config.schema import option
from vespa.config.values import text


@frozen(kw_only=True)
class CheckSettings:
    """What to examine, and how to show it."""

    worker: bool = option(
        None, "", "Examine the worker; default: if it has a backend or an identity, or there is no client."
    )
    client: bool = option(None, "", "Examine the client; default: if it has an endpoint or a key.")
    route: str = option(
        text, "", "A response of the autoscaler's `/route/`, JSON, to verify; -: from standard input.", unit="file"
    )
    production: bool = option(
        None,
        "",
        "Examine the worker as `start_server.sh` and `python3 -m worker` start it: on Vast.ai with TLS by default.",
    )
    json: bool = option(None, "", "Print JSON.")
    strict: bool = option(None, "", "Let warnings, and what could not be examined, fail the check.")


def read(given: Given) -> CheckSettings:
    """The settings. Raises SettingsError, which names every mistake in the command line."""
    reading = Reading(CheckSettings, {}, given)
    if reading.values["production"] and reading.values["client"] and not reading.values["worker"]:
        reading.problems["production"] = "--production: this is about a worker, and only the client is examined"
    return reading.settings()


OF_THE_WORKER: Final = ("VESPA_BACKEND_URL", "VESPA_BENCHMARK", "CONTAINER_ID", "MASTER_TOKEN")
"""The variables without which there is no worker, except for tries on this machine."""
OF_THE_CLIENT: Final = ("VAST_ENDPOINT", "VAST_API_KEY", "VAST_ACCOUNT_KEY")
"""The variables of which a client needs some."""


def parts(settings: CheckSettings, environ: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether to examine the worker, and whether to examine the client: as named, or those with variables."""
    if settings.worker or settings.client:
        return settings.worker, settings.client
    client = any(environ.get(name, "").strip() for name in OF_THE_CLIENT)
    worker = any(environ.get(name, "").strip() for name in OF_THE_WORKER)
    return worker or settings.production or bool(settings.route) or not client, client
