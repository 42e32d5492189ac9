"""The tests, in folders that mirror `vespa/`."""
