"""Every option of `vespa-proxy demo`."""

from __future__ import annotations

from attrs import frozen

from vespa.config.schema import option
from vespa.config.values import Number, whole


@frozen(kw_only=True)
class DemoSettings:
    """The ports of the demo, and the speed of its backend."""

    once: bool = option(None, "", "Exit after the demonstration.")
    client_port: int | None = option(
        whole(0, 65535), None, "The client's port; default: 8010 if free; 0: any free one."
    )
    port: int = option(whole(0, 65535), "0", "The worker's port; 0: any free one.")
    rate: float = option(Number(0, unit="words/s", above=True), "50", "The rate of each response.")
    autoscaler_port: int = option(whole(0, 65535), "0", "The simulated autoscaler's port; 0: any free one.")
    backend_port: int = option(whole(0, 65535), "0", "The small backend's port; 0: any free one.")
