"""What a test was sent to, and how well the tester kept up."""

from __future__ import annotations

from attrs import frozen

from vespa.loadtest.histogram import Spread


@frozen
class Tester:
    """How well the tester itself kept up. `cpu` is the share of one core that it used, `lag` is in seconds."""

    cpu: float
    lag: float
    late: int
    lateness: Spread
    held_back: int
    never_sent: int


@frozen
class About:
    """The target of the test and its start; `started` as ISO 8601."""

    vespa: str
    started: str
    target: str  # an endpoint's name, or a URL
    through: str  # "client" if a client proxy of Vespa found the workers, "url" if the requests went there directly
    path: str
    benchmark: str
    stream: bool
    seed: int
    cost: float
