"""The script that starts the process of a worker's file. Any Python from 3.10 on can run it, without Vespa's packages.

It keeps this folder and Vespa's own off the module search path: a file imports its own modules and its own packages.
"""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(_HERE)


def main():  # type: ignore[no-untyped-def]  # an older Python has to read this, to say that it is too old
    """Make this `vespa` importable without its folder on the path, then run child.py."""
    if sys.version_info < (3, 10):  # noqa: UP036  # --python may name any
        sys.exit(f"Python {sys.version.split()[0]} is too old to run the file here: 3.10 is needed")
    sys.dont_write_bytecode = True  # nothing is left beside the file
    ours = os.path.dirname(_PACKAGE)
    sys.path[:] = [each for each in sys.path if each not in ("", ".", _HERE, ours)]
    spec = importlib.util.spec_from_file_location(
        "vespa", os.path.join(_PACKAGE, "__init__.py"), submodule_search_locations=[_PACKAGE]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["vespa"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from vespa.migrating import child

    child.main()


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
