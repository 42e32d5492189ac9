"""Requests for sessions in memory, through the whole worker, as bytes."""

from __future__ import annotations

import json
from typing import Any

from tests.rig import Rig, Wire, body, post, status
from tests.worker.requests import auth, envelope

WORK = 2_500_000
"""The work of one request with the cost in `auth`."""


class SessionRig(Rig):
    """A worker with sessions; secured unless told otherwise."""

    def __init__(self, *, secured: bool = True, max_sessions: int = 10, **more: Any) -> None:
        super().__init__(secured=secured, max_sessions=max_sessions, **more)

    def post(self, path: str, members: object) -> Wire:
        """A client that has sent this JSON."""
        return self.ask(post(json.dumps(members).encode(), path.encode()))

    def create(self, payload: object = (), **changes: object) -> str:
        """The id of a new session."""
        code, answer = result(
            self.ask(post(envelope(json.dumps(payload or {}).encode(), **changes), b"/session/create"))
        )
        assert code == 201, (code, answer)
        session_id: str = answer["session_id"]
        return session_id

    def named(self, path: str, session_id: object, **changes: object) -> Wire:
        """A client that has asked for a session by its id, with the auth_data of its creation."""
        return self.post(path, {"session_id": session_id, "session_auth": auth(**changes)})

    def inside(self, session_id: str, payload: bytes = b"{}", path: bytes = b"/v1", **changes: object) -> Wire:
        """A client that has sent a request inside a session."""
        members = b', "session_id": %b}' % json.dumps(session_id).encode()
        return self.ask(post(envelope(payload, **changes)[:-1] + members, path))


def result(client: Wire) -> tuple[int, Any]:
    """Status and JSON of a response; (0, None) if there is none yet."""
    response = client.read()
    return (status(response), json.loads(body(response))) if response else (0, None)


def refusal(client: Wire) -> tuple[int, str]:
    """Status and code of an error."""
    code, members = result(client)
    return code, members["error"]["code"]
