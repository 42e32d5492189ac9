# twistd -ny vespa.tac: the same as `twistd -n vespa`, from a checkout where nothing of Vespa is installed.
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from vespa.tap import make_application  # noqa: E402  (found through the line above)

application = make_application()
