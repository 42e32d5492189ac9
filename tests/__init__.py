"""The tests, in folders that mirror `vespa/`; VESPA_TRANSPORT says over which transports they run."""

import os
import sys

from tests.seeds import load_profile
from vespa.transport.choice import FAST, choose
from vespa.transport.platform import install_own_reactor

load_profile()
choose(os.environ.get("VESPA_TRANSPORT") or FAST)
if "twisted.trial" in sys.modules:  # and not a program of the tests' own
    install_own_reactor()
