"""Commands to try with the demonstration. They work from any folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from vespa.simulator.processes import Deployment
from vespa.simulator.signing import body_envelope, query_envelope

CHAT = "/v1/chat/completions"
QUESTION: dict[str, Any] = {
    "model": "vespa-demo",
    "messages": [{"role": "user", "content": "What has just happened to my request?"}],
}
SIGNED = 3  # the number of commands with an assignment that is signed by hand
_AS_JSON = "-H 'Content-Type: application/json'"

Command = tuple[str, ...]  # its meaning, and its parts, one for each printed line


def by_client(client_url: str) -> list[Command]:
    """Commands for users of the client proxy."""
    messages = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": "vespa-demo", "stream": True, "messages": messages})
    python = shlex.quote(sys.executable)
    script = (
        f'from openai import OpenAI; c = OpenAI(base_url="{client_url}/v1", api_key="unused"); '
        f'print(c.chat.completions.create(model="vespa-demo", messages={json.dumps(messages)})'
        ".choices[0].message.content)"
    )
    return [
        ("a stream through the client", f"curl -N {client_url}{CHAT}", _AS_JSON, f"-d '{body}'"),
        (f"the same from Python; first: {python} -m pip install openai", f"{python} -c '{script}'"),
    ]


def with_own_client(deployment: Deployment) -> list[Command]:
    """Settings for a client of your own with the simulated endpoint, and commands to run then."""
    autoscaler = deployment.autoscaler
    settings = {
        "VAST_ENDPOINT": autoscaler.endpoint,
        "VAST_API_KEY": autoscaler.endpoint_key,
        "VAST_ACCOUNT_KEY": autoscaler.account_key,
        "VAST_AUTOSCALER_URL": deployment.autoscaler_url,
        "VAST_CONSOLE_URL": deployment.autoscaler_url,
    }
    first, *others = (f"{name}={shlex.quote(value)}" for name, value in settings.items())
    program = _program()
    return [
        ("for a client of your own; these keys work with this demonstration alone", f"export {first}", *others),
        ("after that: list the account's endpoints", f"{program} client --list"),
        ("after that: start a second client, at any free port", f"{program} client --port 0"),
        (
            "after that: a load test of 10 requests, 2 a second",
            f"{program} load -e {shlex.quote(autoscaler.endpoint)} -n 10 --rps 2",
        ),
    ]


def _program() -> str:
    """The command that runs `vespa-proxy` of this Python's environment from any folder."""
    ours = os.path.join(os.path.dirname(sys.executable), "vespa-proxy")
    found = shutil.which("vespa-proxy")
    if found is not None and os.path.realpath(found) == os.path.realpath(ours):
        return "vespa-proxy"
    return shlex.quote(ours) if os.path.exists(ours) else f"{shlex.quote(sys.executable)} -m vespa.cli"


def by_hand(deployment: Deployment, assignments: Sequence[dict[str, Any]]) -> list[Command]:
    """Commands without the client: they send assignments to the worker. Writes files to the deployment's folder.

    It takes SIGNED assignments, one for each command that needs one.
    """

    def write(name: str, content: bytes) -> str:
        path = os.path.join(deployment.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return shlex.quote(path)

    for_stream, for_plain, for_query = assignments
    streamed = write("stream.json", body_envelope(for_stream, {**QUESTION, "stream": True}))
    plain = write("plain.json", body_envelope(for_plain, QUESTION))
    query = write("query.txt", query_envelope(for_query).encode("ascii"))
    worker = deployment.workers[-1].url
    first, second, third = (f"request {assignment['request_idx']}" for assignment in assignments)
    return [
        (
            f"directly to the worker: {first}, already signed. Use it once, otherwise the ledger does not add up",
            f"curl -N {worker}{CHAT}",
            _AS_JSON,
            f"-d @{streamed}",
        ),
        (f"the same without streaming: {second}", f"curl {worker}{CHAT}", _AS_JSON, f"-d @{plain}"),
        (f"a GET that is signed in its query: {third}", f"curl -G {worker}/v1/models", f"-d @{query}"),
        ("without a signature: refused", f"curl -i {worker}/v1/models"),
        ("the ledger: what workers reported to the autoscaler, as JSON", f"curl {deployment.autoscaler_url}/ledger"),
    ]
