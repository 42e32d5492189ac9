"""The processes of a deployment: workers and clients, each with where it is to be found."""

from __future__ import annotations

import re
from collections.abc import Callable

from vespa.simulator.child import Child

_READY = re.compile(r"ready: (http://\S+)")


class WorkerChild(Child):
    """A worker's process. `id` is what it calls itself in its reports."""

    id = 0
    port = 0
    url = ""


class ClientChild(Child):
    """A client's process. `url` is where it listens, "" until it is ready."""

    def __init__(self, on_line: Callable[[str], None] = lambda line: None) -> None:
        super().__init__(self._look)
        self.url = ""
        self._tell = on_line

    def _look(self, line: str) -> None:
        if not self.url and (found := _READY.match(line)) is not None:
            self.url = found[1]
        self._tell(line)
