#!/usr/bin/env bash
# Run every check: ruff, mypy, and the tests. The last line is the result: N passed, N failed.
#   ./run_tests.sh                 everything
#   ./run_tests.sh tests.vast      the tests of a part
#   ./run_tests.sh random [...]    the same with five times as many random draws, of a new seed, which is printed;
#                                  VESPA_TEST_SEED and VESPA_TEST_EXAMPLES repeat it (tests/seeds.py)
set -euo pipefail

if [ "${1:-}" = random ]; then
    shift
    export VESPA_TEST_SEED=${VESPA_TEST_SEED:-$((RANDOM * 32768 + RANDOM + 1))} VESPA_TEST_EXAMPLES=${VESPA_TEST_EXAMPLES:-5}
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
. scripts/environment.sh

environment=${VIRTUAL_ENV:-$here/.venv}
make_environment "$environment"
python=$environment/bin/python
install_checkout "$python" "$here" test || fail "pip could not install what the tests need; its output is above"
case " ${*:-tests} " in
*" tests "* | *e2e*)
    install_real_parts "$here" ||
        echo "the real parts could not be installed; the end-to-end tests that need them are skipped"
    ;;
esac
exec "$python" -m tests.run "$@"
