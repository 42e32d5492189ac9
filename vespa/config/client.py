"""What a client proxy is made from, as one frozen value; where the values come from is not known here."""

from __future__ import annotations

from typing import Final, Literal

from attrs import field, frozen

from vespa.accounting.workload import MAX_COST
from vespa.vast.addresses import AUTOSCALERS, CONSOLE

Dialect = Literal["vespa", "official"]
Instance = Literal["prod", "alpha", "candidate"]

PORT: Final = 8010


_LONG: Final = 1e9  # seconds
_MANY: Final = 1 << 40


def _within(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and least <= value <= most


@frozen(kw_only=True)
class ClientSettings:
    """
    One endpoint, and how it is called. Durations are in seconds, costs in Vast's units of work.

    Either key will do: with an account key alone the endpoint's own is looked up at the console.
    """

    endpoint: str
    endpoint_key: str = field(default="", repr=False)
    account_key: str = field(default="", repr=False)
    instance: Instance = "prod"
    autoscaler_url: str = ""
    """"" is that of the instance; `autoscaler` is what to use."""
    console_url: str = CONSOLE

    host: str = "127.0.0.1"
    port: int = PORT
    """0: any free one."""
    token: str = field(default="", repr=False)
    """What callers of this proxy have to show; "": nothing."""
    allow_hosts: tuple[str, ...] = ()
    """Names besides the loopback's own that a Host field may hold."""
    allow_origins: tuple[str, ...] = ()
    """Origins of web pages that may ask, as browsers write them; never "*" or "null"."""

    passes: tuple[str, ...] = ()
    """What of a caller's own goes on to workers, and back: "cookie", "authorization"."""
    dialect: Dialect = "vespa"
    default_cost: float | None = None
    cost_from_tokens: bool = False
    waiting_pings: bool = False

    timeout: float = 590.0
    """
    How long a worker is looked for, and how long each one may take until its response begins; 0: no limit. OpenAI's and
    Anthropic's libraries give up after 600 s: where no worker is found they should be told so before.
    """
    idle_timeout: float = 0.0
    """The longest silence within a response; 0: no limit. A worker whose machine has vanished is noticed without it."""
    attempts: int = 5
    """Most workers that one request is sent to."""
    max_connections: int = 1000
    """Most requests in flight; more wait their turn. 0: no limit."""
    max_connections_per_host: int = 0
    replay_bytes: int = 1 << 20
    """The most of a request's body that is kept so that it can be sent to another worker."""
    worker_ca: str = ""
    """PEM file of roots for workers' certificates; "": Vast's own root."""
    drain_timeout: float = 5.0
    transport: Literal["fast", "stock"] = "fast"
    """For commands: which transports the process uses (`vespa.transport.choice`)."""
    debug: bool = False

    def __attrs_post_init__(self) -> None:
        """Raises ValueError, which names every field that is no good."""
        wrong = [
            name
            for name, good in (
                ("endpoint", isinstance(self.endpoint, str)),
                ("instance", self.instance in AUTOSCALERS),
                ("dialect", self.dialect in ("vespa", "official")),
                ("transport", self.transport in ("fast", "stock")),
                ("allow_origins", not {"*", "null"} & set(self.allow_origins)),
                ("passes", set(self.passes) <= {"cookie", "authorization"}),
                ("port", _within(self.port, 0, 65535)),
                ("default_cost", self.default_cost is None or _within(self.default_cost, 0, MAX_COST)),
                ("timeout", _within(self.timeout, 0, _LONG)),
                ("idle_timeout", _within(self.idle_timeout, 0, _LONG)),
                ("drain_timeout", _within(self.drain_timeout, 0, _LONG)),
                ("attempts", _within(self.attempts, 1, _MANY)),
                ("max_connections", _within(self.max_connections, 0, _MANY)),
                ("max_connections_per_host", _within(self.max_connections_per_host, 0, _MANY)),
                ("replay_bytes", _within(self.replay_bytes, 0, _MANY)),
            )
            if not good
        ]
        if wrong:
            raise ValueError(f"of another type, or out of range: {', '.join(wrong)}")

    @property
    def autoscaler(self) -> str:
        """The autoscaler's base URL, without a last slash."""
        return (self.autoscaler_url or AUTOSCALERS[self.instance]).rstrip("/")
