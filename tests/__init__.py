"""The tests, in folders that mirror `vespa/`; VESPA_TRANSPORT says over which transports they run."""

import os
import sys

from tests.seeds import load_profile
from vespa.transport.choice import FAST, choose, is_fast
from vespa.transport.platform import HAS_EPOLL


def install_reactor() -> None:
    """Run the tests over the reactor that Vespa's commands use, where it can be."""
    if HAS_EPOLL and is_fast() and "twisted.internet.reactor" not in sys.modules:
        from vespa.transport.reactor import install

        install()


load_profile()
choose(os.environ.get("VESPA_TRANSPORT") or FAST)
if "twisted.trial" in sys.modules:  # and not a program of the tests' own
    install_reactor()
