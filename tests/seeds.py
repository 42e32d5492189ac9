"""What the tests that draw at random draw from, and how much of it: the same in every run, unless told otherwise.

That holds for the same tests on the same code: hypothesis also draws constants that it finds in the modules loaded.

    VESPA_TEST_SEED      a whole number; 0, the default, gives the same draws each time
    VESPA_TEST_EXAMPLES  how many times as many examples are drawn; 1 by default

`./run_tests.sh random` sets both. What failed under a seed fails under it again.
"""

from __future__ import annotations

import os
from random import Random

from hypothesis import HealthCheck, core, settings

SEED = int(os.environ.get("VESPA_TEST_SEED", "").strip() or 0)
FACTOR = int(os.environ.get("VESPA_TEST_EXAMPLES", "").strip() or 1)
USUAL_EXAMPLES = 100


def examples(usual: int) -> int:
    """The count of examples to draw where `usual` is the count of an everyday run."""
    return usual * FACTOR


def random_source(number: int) -> Random:
    """A source of chance for a test; `number` tells the sources of one run apart."""
    return Random(number if SEED == 0 else f"{SEED} {number}")


def load_profile() -> None:
    """Make hypothesis draw as this module says; called before any test module is imported."""
    settings.register_profile(
        "vespa",
        derandomize=SEED == 0,
        max_examples=examples(USUAL_EXAMPLES),
        database=None,
        deadline=None,  # time is no law: a busy machine must not fail a test
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("vespa")
    if SEED:
        core.global_force_seed = SEED  # type: ignore[assignment]  # what hypothesis's own `pytest --hypothesis-seed` sets


def described() -> str:
    """What the draws of this run are made from, as the line that a run begins with."""
    kind = "the same in every run; ./run_tests.sh random draws others" if SEED == 0 else "the same again by these two"
    return f"draws: VESPA_TEST_SEED={SEED} VESPA_TEST_EXAMPLES={FACTOR} ({kind})"
