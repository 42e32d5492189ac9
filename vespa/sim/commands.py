"""Commands to try against a service on this machine, which work as they stand."""

from __future__ import annotations

import json
import os
from typing import Any

from vespa.sim.signing import body_envelope, query_envelope
from vespa.sim.stage import Stage

CHAT = "/v1/chat/completions"
QUESTION: dict[str, Any] = {
    "model": "vespa-demo",
    "messages": [{"role": "user", "content": "What has just happened to my request?"}],
}
_AS_JSON = "-H 'Content-Type: application/json'"


def by_client(client_url: str) -> list[tuple[str, str]]:
    """What a user of the client proxy types, and what each shows."""
    hello = {"model": "vespa-demo", "messages": [{"role": "user", "content": "Hello"}]}
    messages = json.dumps(hello["messages"])
    script = (
        f'from openai import OpenAI; c = OpenAI(base_url="{client_url}/v1", api_key="unused"); '
        f'print(c.chat.completions.create(model="vespa-demo", messages={messages}).choices[0].message.content)'
    )
    return [
        ("through the client", f"curl -N {client_url}{CHAT} {_AS_JSON} -d '{json.dumps({**hello, 'stream': True})}'"),
        ("through the client, in Python; it takes `pip install openai`", f"python3 -c '{script}'"),
    ]


def by_hand(stage: Stage, assignment: dict[str, Any], folder: str) -> list[tuple[str, str]]:
    """What the client spares its users: an assignment sent along to the worker. Writes files to the folder."""

    def write(name: str, content: bytes) -> str:
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    streamed = write("stream.json", body_envelope(assignment, {**QUESTION, "stream": True}))
    plain = write("plain.json", body_envelope(assignment, QUESTION))
    query = write("query.txt", query_envelope(assignment).encode("ascii"))
    worker = stage.worker_url
    signed = f"signed by hand, as request {assignment['request_idx']}, for as often as you like"
    return [
        (signed, f"curl -N {worker}{CHAT} {_AS_JSON} -d @{streamed}"),
        ("the same, whole", f"curl {worker}{CHAT} {_AS_JSON} -d @{plain}"),
        ("signed in the query, for any method", f"curl -G {worker}/v1/models -d @{query}"),
        ("not signed", f"curl -i {worker}/v1/models"),
        ("what the autoscaler was told", f"curl {stage.autoscaler_url}/ledger"),
    ]
