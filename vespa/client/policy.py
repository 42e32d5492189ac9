"""How the client makes its requests, as `ClientSettings` say it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

DEFAULT_COST: Final = 1.0


@frozen(kw_only=True)
class Policy:
    """
    How requests are made. `cost` in Vast's units, times in seconds; 0 turns a bound off.

    `official`: workers know the envelope only. `cost_from_tokens`: the most tokens that a body asks for are its cost.
    `seconds`: for how long a worker is looked for. `attempts`: workers that one request goes to. `replay_bytes`: of a
    body that are kept until a response begins. `passes`: what of a caller's credentials goes on. `token`: this proxy's
    own. `waiting_pings`: callers that asked for a stream are told while they wait.
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
