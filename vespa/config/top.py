"""Every option of `vespa-proxy top`."""

from __future__ import annotations

from attrs import frozen

from vespa.config.schema import option
from vespa.config.values import key, text


@frozen(kw_only=True)
class TopSettings:
    """Whose figures to show, and how."""

    url: str = option(
        text,
        "",
        "The admin port: a URL, `host:port`, a port of this machine, or `unix:/a.sock`; it may stand without --url. "
        "Default: the first port of this machine from 9464 to 9479 that has one.",
    )
    token: str = option(
        key, "", "The admin port's token.", "VESPA_ADMIN_TOKEN", fallback="VESPA_CLIENT_ADMIN_TOKEN", secret=True
    )
    ca_file: str = option(text, "", "PEM roots to trust for an https URL, instead of the system's.")
    once: bool = option(None, "", "Show the figures once, as a table; always so where the output is no terminal.")
    json: bool = option(None, "", "Print the status document as JSON; without --once a line each second.")
