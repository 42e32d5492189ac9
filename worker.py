"""`python3 -m worker`, which Vast.ai's templates run after they have installed requirements.txt."""

import os
import sys

# The processes that it starts must find Vespa too, whatever their folder.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")]))

from vespa.worker.launch import main  # noqa: E402  (found through the lines above)

if __name__ == "__main__":
    sys.exit(main())
