"""The client's rules for its requests, from `ClientSettings`."""

from __future__ import annotations

from typing import Final

from attrs import frozen

DEFAULT_COST: Final = 1.0


@frozen(kw_only=True)
class Policy:
    """
    The client's rules for its requests. `cost` in Vast's units, times in seconds; 0 turns a limit off.

    `official`: workers know the envelope only. `cost_from_tokens`: the cost is the maximum number of tokens in a body.
    `seconds`: the time limit for a search. `attempts`: the number of workers for one request. `replay_bytes`: the size
    of a body that is kept until a response begins. `passes`: the caller's fields that pass. `token`: this proxy's own.
    `waiting_pings`: callers that asked for a stream get comments while they wait. `stream_errors`: an event
    stream that breaks ends with an error event. `max_sessions`: the number of sessions, `session_lifetime`: the
    lifetime of one without another. `jobs`: the kind of jobs whose polls stay on their worker; "": none.
    """

    official: bool = False
    cost: float = DEFAULT_COST
    cost_from_tokens: bool = False
    seconds: float = 600.0
    attempts: int = 5
    replay_bytes: int = 1 << 20
    passes: tuple[str, ...] = ()
    token: bytes = b""
    waiting_pings: bool = False
    stream_errors: bool = False
    max_sessions: int = 100
    session_lifetime: float = 60.0
    jobs: str = ""
