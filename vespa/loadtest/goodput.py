"""Which requests keep the service level objectives. Goodput is their number a second."""

from __future__ import annotations

from vespa.config.slo import SLO
from vespa.loadtest.outcome import Outcome


def is_good(outcome: Outcome, slo: SLO) -> bool:
    """
    Whether a request succeeded and kept every objective.

    A response without a first token, which is no stream, keeps no limit on that. One with a single token has no time
    per token, and keeps any limit on it, as with `vllm bench serve`.
    """
    if not outcome.ok:
        return False
    if slo.e2e is not None and outcome.latency > slo.e2e:
        return False
    first = outcome.time_to_first_token
    if slo.ttft is not None and (first is None or first > slo.ttft):
        return False
    return slo.tpot is None or (first is not None and (outcome.time_per_output_token or 0.0) <= slo.tpot)
