"""Reports once that a worker failed to start. Uses the standard library only, so it works with a broken installation.

python -m vespa.worker.failure_report "what went wrong"

This module, vespa/__init__.py, vespa/worker/__init__.py and worker.py also run under Python 3.6, so that they can
report an interpreter that is too old for the rest.
"""

import http.client
import json
import os
import shutil
import sys
import urllib.request
from typing import Any, Callable, Mapping, Optional

REPORT_VERSION = "1.1.0"  # what Vast's own worker has sent in every release
TIMEOUT_SECONDS = 10.0
LONGEST_MESSAGE = 2000  # characters; of a longer one the end is kept, which holds the cause
GIGABYTE = 2**30

_USAGE = """usage: python -m vespa.worker.failure_report "what went wrong"

Reports to the autoscaler that this worker failed to start. The variables that Vast.ai sets say which worker it is."""

Send = Callable[[str, bytes], bool]


def body(environ: Mapping[str, str], message: str) -> Optional[bytes]:
    """The worker_status body with `message`; None if the environment does not identify the worker."""
    number = environ.get("CONTAINER_ID", "").strip()
    token = environ.get("MASTER_TOKEN", "").strip()
    if not number or set(number) - set("0123456789") or not token:
        return None
    message = message.replace(token, "[hidden]")[-LONGEST_MESSAGE:]
    fields: dict[str, Any] = {
        "id": int(number),
        "mtoken": token,
        "version": environ.get("VESPA_REPORT_VERSION", "").strip() or REPORT_VERSION,
        "loadtime": 0.0,
        "cur_load": 0.0,
        "rej_load": 0.0,
        "new_load": 0.0,
        "error_msg": message or "the worker failed",
        "max_perf": 0.0,
        "cur_perf": 0.0,
        "cur_capacity": 0,
        "max_capacity": 0,
        "num_requests_working": 0,
        "num_requests_recieved": 0,
        "additional_disk_usage": 0.0,
        "disk_usage": _disk_usage(),
        "working_request_idxs": [],
        "url": _url(environ),
    }
    return json.dumps(fields).encode()


def report(environ: Mapping[str, str], message: str, send: Optional[Send] = None) -> bool:
    """Report to the first address that answers. Returns False if none did."""
    content = body(environ, message)
    if content is None:
        return False
    addresses = environ.get("REPORT_ADDR", "").strip() or "https://run.vast.ai"
    for address in addresses.split(","):
        address = address.strip().rstrip("/")
        if address.startswith(("http://", "https://")) and (send or post)(f"{address}/worker_status/", content):
            return True
    return False


def post(url: str, content: bytes) -> bool:
    """POST `content`. Returns whether the response was 2xx. Uses no proxy and no redirect, because of the token."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method="POST")
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return 200 <= int(response.status) < 300
    except (OSError, ValueError, http.client.HTTPException):  # ValueError: not a URL
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _disk_usage() -> float:
    try:
        return shutil.disk_usage("/").used / GIGABYTE
    except OSError:
        return 0.0


def _url(environ: Mapping[str, str]) -> str:
    def either(name: str, default: str) -> str:
        return (environ.get(f"VESPA_{name}", "").strip() or environ.get(name, "").strip() or default).lower()

    address = environ.get("PUBLIC_IPADDR", "").strip()
    port = environ.get(f"VAST_TCP_PORT_{either('WORKER_PORT', '3000')}", "").strip()
    scheme = "https" if either("USE_SSL", "false") in {"true", "1", "yes", "on"} else "http"
    return f"{scheme}://{address}:{port}" if address and port else ""


def main() -> int:
    """Report the text of the arguments. The exit code says whether it was delivered; 2: there is no text."""
    arguments = sys.argv[1:]
    if arguments in ([], ["-h"], ["--help"]):
        print(_USAGE, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    message = " ".join(arguments)
    if report(os.environ, message):
        return 0
    print("the failure could not be reported to the autoscaler: no address answered", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
