"""`python3 -m worker`, which Vast.ai's templates run after they have installed requirements.txt."""

import os
import sys

# The processes that it starts must find Vespa too, whatever their folder.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")]))


def _too_old():
    """What is wrong with this Python; "" when it is new enough. An old one cannot even read the rest of Vespa."""
    if sys.version_info >= (3, 10):
        return ""
    found = ".".join(map(str, sys.version_info[:3]))
    return "Vespa needs Python 3.10 or newer, and {} is Python {}".format(sys.executable, found)


def _main():
    why = _too_old()
    if not why:
        from vespa.worker.launch import main

        return main()
    sys.stderr.write("error: {}\n".format(why))
    sys.stderr.flush()
    try:
        from vespa.worker.failure_report import report
    except SyntaxError:  # older than 3.6
        return 1
    report(os.environ, why)
    return 1


if __name__ == "__main__":
    sys.exit(_main())
