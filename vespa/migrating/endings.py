"""Says in words how the run of a worker's file ended."""

from __future__ import annotations

from vespa.migrating.messages import End


def place(end: End, file: str) -> str:
    """Where in the file it was: ` at line 3 (x = 1)`; "" if that is not known."""
    if not end.line:
        return ""
    other = "" if end.file == file else f" of {end.file}"
    source = f" ({end.source[:160]})" if end.source else ""
    return f" at line {end.line}{other}{source}"


def sentence(end: End, file: str, seconds: float, printed: str = "") -> str:
    """What happened, and what to do; "" if the file started its worker, as it should."""
    where = place(end, file)
    match end.how:
        case "served":
            return ""
        case "finished":
            return "it ended without calling Worker(...).run()"
        case "unreadable":
            return f"its configuration cannot be read, neither here nor by Vast's own worker: {end.type}: {end.message}"
        case "late":
            now = f"; then it was{where}" if where else ""
            return f"it did not call Worker(...).run() within {seconds:g} seconds (--timeout){now}"
        case "exited":
            last = _last_line(printed)
            said = f", after it printed: {last}" if last else ""
            return f"it ended itself with sys.exit({end.message}){where}{said}. --argument=VALUE gives it an argument"
        case _:
            return _raised(end, where)


def _raised(end: End, where: str) -> str:
    message = f": {end.message}" if end.message else ""
    text = f"it raised {end.type}{message}{where}"
    module = end.module.partition(".")[0]
    if module:
        return (
            f"{text}. The module {module} is not installed for the Python that ran the file: install it, or name the "
            "worker's own Python with --python, such as /workspace/worker-env/bin/python"
        )
    if end.type == "KeyError" and "environ" in end.source:
        return f"{text}. Run the command with the variables that the template sets"
    if "the network is off" in end.message:
        return f"{text}. Run it where what the file downloads is there already"
    return text


def _last_line(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
