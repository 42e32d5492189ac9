"""Every option of `vespa-proxy migrate`."""

from __future__ import annotations

from attrs import frozen

from vespa.config.schema import option
from vespa.config.values import Number, text


@frozen(kw_only=True)
class MigrateSettings:
    """Which file to read, and what to make of it."""

    file: str = option(text, "", "A PyWorker's file, such as `worker.py`; it may stand without --file.")
    benchmark: str = option(
        text, "", "Write a benchmark module with the requests of the file's benchmark.", unit="file.py"
    )
    force: bool = option(None, "", "Overwrite the file of --benchmark.")
    json: bool = option(None, "", "Print JSON.")
    argument: tuple[str, ...] = option(text, "", "An argument for the file, as in `sys.argv`.", many=True)
    python: str = option(
        text,
        "",
        "The Python to run the file with, such as `/workspace/worker-env/bin/python`, which has its packages. Default: "
        "this one.",
    )
    stand_in: bool = option(None, "", "Use the stand-in of the package vastai even where the package is installed.")
    timeout: float = option(
        Number(0, 600, "seconds", above=True), "30", "Limit until the file starts its worker.", unit="seconds"
    )
