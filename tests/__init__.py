"""The tests, in folders that mirror `vespa/`."""

from hypothesis import HealthCheck, settings

# Time is no law: a busy machine must not fail a test.
settings.register_profile("vespa", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vespa")
