"""The ways in which tests are run: as this system is, as if it were another, and over Twisted's own transports."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent.parent


@attrs.frozen(eq=False)
class Way:
    """An environment to run tests in, and the tests that have to pass in it besides."""

    name: str
    settings: Mapping[str, str] = attrs.field(factory=dict)
    tests: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """This process's environment, changed as this way says."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        if "MASKED_AS" in self.settings:
            paths.insert(0, str(ROOT / "tests" / "masking"))
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **self.settings}

    def check(self) -> None:
        """Raises where this process is not run in this way: nothing would be tested twice, and nobody would notice."""
        mask = self.settings.get("MASKED_AS", "")
        if mask:
            found = getattr(sys.modules.get("sitecustomize"), "MASK", "")
            if found != mask:
                raise RuntimeError(f"this process is to be masked as {mask}, and is masked as {found or 'nothing'}")
        if self.settings.get("VESPA_TRANSPORT") == "stock":
            from vespa.transport.choice import is_fast

            if is_fast():
                raise RuntimeError("this process is to use the stock transports, and uses the fast ones")


EVERYWHERE = (
    "tests.client",
    "tests.checking.test_client",
    "tests.loadtest",
    "tests.top",
    "tests.observability.test_admin",
    "tests.runtime.test_standard_streams",
    "tests.runtime.test_terminal",
    "tests.proxy",
    "tests.contract.test_connections",
    "tests.contract.test_responses",
    "tests.contract.test_requests",
    "tests.contract.test_tunnels",
    "tests.system.test_platforms",
)
"""What has to pass on every system."""

PLAIN = Way("plain")
MASKS = tuple(Way(mask, {"MASKED_AS": mask}, EVERYWHERE) for mask in ("darwin", "win32"))
"""Linux with its names masked that macOS or Windows lacks."""
STOCK = Way(
    "stock", {"VESPA_TRANSPORT": "stock"}, ("tests.contract", "tests.client.test_service", "tests.client.test_trust")
)
"""The contract suites over Twisted's own transports and reactor."""

WAYS = {way.name: way for way in (PLAIN, *MASKS, STOCK)}
