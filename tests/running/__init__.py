"""How `./run_tests.sh` runs the tests: modules of tests, longest first, in processes beside each other.

`trial --jobs` does not do it. It hands out single tests in the order of their names, so that a long one is met last. It
loads every test in the parent as well. And it runs them in processes of one kind, where some of ours need another
environment.
"""
