"""The one table of the client's options: command line, environment and documentation all come from it.

python -m vespa.config.client_options
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from vespa.accounting.workload import MAX_COST
from vespa.config import keys
from vespa.config.client import ClientSettings
from vespa.config.values import addresses, choice, decimal, integer, seconds, text

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


@attrs.frozen
class Option:
    """One row. An option without `parse` is a switch; one that is `many` may be given again and again."""

    flag: str
    help: str
    parse: Callable[[str], Any] | None = None
    variable: str = ""
    unit: str = ""
    secret: bool = False
    many: bool = False
    command_only: bool = False
    attribute: str = attrs.field()
    """The field of ClientSettings that it fills."""

    @attribute.default
    def _attribute(self) -> str:
        return self.flag.replace("-", "_")

    @property
    def usage(self) -> str:
        """The meaning as `--help` tells it."""
        more = [f"default: {self.default_text}"] if self.default_text else []
        more += [self.variable] if self.variable else []
        return self.help.replace("`", "") + (f" [{', '.join(more)}]" if more else "")

    @property
    def default(self) -> Any:
        """The value where nothing is given."""
        return _DEFAULTS.get(self.attribute)

    @property
    def default_text(self) -> str:
        """The default as a user would write it; "" where nothing is the default."""
        value = self.default
        if isinstance(value, float):
            return f"{value:g}"
        return "" if not value and value != 0 or value is False else str(value)


_DEFAULTS: Final = {
    field.name: "" if field.default is attrs.NOTHING else field.default for field in attrs.fields(ClientSettings)
}


def _address(raw: str) -> str:
    if "," in raw:
        raise ValueError("must be one address")
    return addresses(raw)[0]


def _interface(raw: str) -> str:
    try:
        return str(ipaddress.ip_address("127.0.0.1" if raw.lower() == "localhost" else raw.strip("[]")))
    except ValueError:
        raise ValueError("must be an IP address of this machine, 0.0.0.0 for all of them") from None


def _name(raw: str) -> str:
    if not _NAME.fullmatch(raw):
        raise ValueError("must be a host's name, without a port")
    return raw.lower()


def _origin(raw: str) -> str:
    """An origin as browsers write it: scheme and host in lower case, no default port, no path."""
    if "*" in raw:
        raise ValueError("must be whole origins: a `*` would let in every web page that its browser visits")
    if raw == "null":
        raise ValueError("no page is sure to be yours under this origin: any sandboxed frame and local file has it")
    found = _ORIGIN.fullmatch(raw)
    if found is None:
        raise ValueError("must be an origin such as http://localhost:3000 or app://obsidian.md, without a path")
    scheme, host, port = found[1].lower(), found[2].lower(), found[3] or ""
    return f"{scheme}://{host}" + ("" if port == {"http": ":80", "https": ":443"}.get(scheme) else port)


def _cost(raw: str) -> float:
    number = decimal(raw)
    if not 0 <= number <= MAX_COST:
        raise ValueError(f"must be 0 or more, and at most {MAX_COST:g}")
    return number


OPTIONS: Final = (
    Option("endpoint", "The endpoint to send requests to: its name, or its id.", text, "VAST_ENDPOINT"),
    Option("api-key", "The endpoint's key.", keys.key, "VAST_API_KEY", secret=True, attribute="endpoint_key"),
    Option(
        "account-key",
        "The account's key, with which the endpoint's is looked up; else that in the `vastai` command's file.",
        keys.key,
        "VAST_ACCOUNT_KEY",
        secret=True,
    ),
    Option("list", "Print the account's endpoints and exit; not for `twistd`.", command_only=True),
    Option("port", "The port to listen at; 0: any free one.", integer(0, 65535), "VESPA_CLIENT_PORT"),
    Option("host", "The address to listen at; beyond loopback it needs a token.", _interface),
    Option(
        "token",
        "What callers of this proxy must show, as `Authorization: Bearer` or `X-Api-Key`.",
        keys.key,
        "VESPA_CLIENT_TOKEN",
        secret=True,
    ),
    Option(
        "allow-host",
        "A further name by which callers may address this proxy; may be repeated.",
        _name,
        many=True,
        attribute="allow_hosts",
    ),
    Option(
        "allow-origin",
        "The origin of a web page that may use this proxy, such as `http://localhost:3000`; may be repeated.",
        _origin,
        "VESPA_CLIENT_ALLOW_ORIGIN",
        many=True,
        attribute="allow_origins",
    ),
    Option(
        "pass",
        "Pass a caller's `cookie` or `authorization` on to the worker, and cookies back; may be repeated.",
        choice("cookie", "authorization"),
        "VESPA_CLIENT_PASS",
        many=True,
        attribute="passes",
    ),
    Option("instance", "Vast's autoscaler: prod, alpha or candidate.", choice("prod", "alpha", "candidate")),
    Option("autoscaler-url", "The autoscaler; else that of the instance.", _address, "VAST_AUTOSCALER_URL"),
    Option("console-url", "Vast's console.", _address, "VAST_CONSOLE_URL"),
    Option("worker-ca", "A PEM file of roots for workers' certificates, in place of Vast's own.", text, unit="file"),
    Option(
        "dialect",
        "`official`: only what workers of the `vastai` package take, POST with a JSON body.",
        choice("vespa", "official"),
    ),
    Option("default-cost", "The cost of a request that names none; else 1.", _cost, unit="work"),
    Option(
        "cost-from-tokens",
        "Where there is no --default-cost, take the cost from the most tokens that a JSON body asks for.",
    ),
    Option("waiting-pings", "Send comments into a stream that is asked for while it waits for a worker."),
    Option(
        "timeout",
        "How long a worker is looked for, and how long one may take to begin its response; 0: no limit.",
        seconds,
        "VESPA_TIMEOUT",
        "seconds",
    ),
    Option(
        "idle-timeout", "The longest silence within a response; 0: no limit.", seconds, "VESPA_IDLE_TIMEOUT", "seconds"
    ),
    Option("attempts", "Most workers that one request is sent to.", integer(1)),
    Option(
        "max-connections",
        "Most requests in flight; more wait their turn. 0: no limit.",
        integer(0),
        "VESPA_MAX_CONNECTIONS",
    ),
    Option(
        "max-connections-per-host",
        "Most connections to one worker; 0: no limit.",
        integer(0),
        "VESPA_MAX_CONNECTIONS_PER_HOST",
    ),
    Option("drain-timeout", "How long requests may go on after a SIGTERM.", seconds, unit="seconds"),
    Option(
        "transport",
        "`stock`: only Twisted's public interfaces are used, for a Twisted that is newer than Vespa.",
        choice("fast", "stock"),
        "VESPA_TRANSPORT",
    ),
    Option("debug", "Log every request."),
)


def markdown() -> str:
    """The table as the documentation shows it."""
    lines = ["| Option | Variable | Default | Unit | Meaning |", "|---|---|---|---|---|"]
    for row in OPTIONS:
        variable = f"`{row.variable}`" if row.variable else ""
        default = f"`{row.default_text}`" if row.default_text else ""
        lines.append(f"| `--{row.flag}` | {variable} | {default} | {row.unit} | {row.help} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
