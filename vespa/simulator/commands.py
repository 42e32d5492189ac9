"""Commands to try against a service on this machine, which work as they stand."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from vespa.simulator.launch import ROOT
from vespa.simulator.processes import Deployment
from vespa.simulator.signing import body_envelope, query_envelope

CHAT = "/v1/chat/completions"
QUESTION: dict[str, Any] = {
    "model": "vespa-demo",
    "messages": [{"role": "user", "content": "What has just happened to my request?"}],
}
SIGNED = 3
"""Commands that are signed by hand."""
_AS_JSON = "-H 'Content-Type: application/json'"


def by_client(client_url: str) -> list[tuple[str, str]]:
    """What a user of the client proxy types, and what each shows."""
    hello = {"model": "vespa-demo", "messages": [{"role": "user", "content": "Hello"}]}
    messages = json.dumps(hello["messages"])
    python = shlex.quote(sys.executable)
    script = (
        f'from openai import OpenAI; c = OpenAI(base_url="{client_url}/v1", api_key="unused"); '
        f'print(c.chat.completions.create(model="vespa-demo", messages={messages}).choices[0].message.content)'
    )
    return [
        ("through the client", f"curl -N {client_url}{CHAT} {_AS_JSON} -d '{json.dumps({**hello, 'stream': True})}'"),
        (f"through the client, in Python; it takes `{python} -m pip install openai`", f"{python} -c '{script}'"),
    ]


def with_own_client(deployment: Deployment) -> list[tuple[str, str]]:
    """What a client of one's own is told, here of the simulated endpoint, and what may then be run."""
    autoscaler = deployment.autoscaler
    settings = {
        "VAST_ENDPOINT": autoscaler.endpoint,
        "VAST_API_KEY": autoscaler.endpoint_key,
        "VAST_ACCOUNT_KEY": autoscaler.account_key,
        "VAST_AUTOSCALER_URL": deployment.autoscaler_url,
        "VAST_CONSOLE_URL": deployment.autoscaler_url,
    }
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    program = _program("vespa-proxy")
    return [
        ("for a client of your own; the keys are the simulator's, and open nothing anywhere else", f"export {exports}"),
        ("then: the account's endpoints", f"{program} client --list"),
        ("a client at any free port", f"{program} client --port 0"),
        ("a load test", f"{program} load -e {shlex.quote(autoscaler.endpoint)} -n 10 --rps 2"),
    ]


def _program(name: str) -> str:
    """How a program of this Python's environment is called from the current folder."""
    own = os.path.join(ROOT, ".venv")
    if os.path.realpath(sys.prefix) != os.path.realpath(own):
        return name
    here = os.path.realpath(os.getcwd()) == os.path.realpath(ROOT)
    return shlex.quote(os.path.join(".venv" if here else own, "bin", name))


def by_hand(deployment: Deployment, assignments: Sequence[dict[str, Any]], folder: str) -> list[tuple[str, str]]:
    """What the client spares its users: assignments sent along to the worker. Writes files to the folder.

    It takes SIGNED assignments, one for each command that is signed.
    """

    def write(name: str, content: bytes) -> str:
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    for_stream, for_plain, for_query = assignments
    streamed = write("stream.json", body_envelope(for_stream, {**QUESTION, "stream": True}))
    plain = write("plain.json", body_envelope(for_plain, QUESTION))
    query = write("query.txt", query_envelope(for_query).encode("ascii"))
    worker = deployment.worker_url
    first, second, third = (f"as request {assignment['request_idx']}" for assignment in assignments)
    return [
        (
            f"signed by hand, {first}; a second use counts as twice in the ledger, which then does not add up",
            f"curl -N {worker}{CHAT} {_AS_JSON} -d @{streamed}",
        ),
        (f"the same, whole, {second}", f"curl {worker}{CHAT} {_AS_JSON} -d @{plain}"),
        (f"signed in the query, for any method, {third}", f"curl -G {worker}/v1/models -d @{query}"),
        ("not signed", f"curl -i {worker}/v1/models"),
        ("what the autoscaler was told", f"curl {deployment.autoscaler_url}/ledger"),
    ]
