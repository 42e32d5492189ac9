"""The tests, in folders that mirror `vespa/`."""

from tests.seeds import load_profile

load_profile()
