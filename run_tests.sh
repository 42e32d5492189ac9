#!/usr/bin/env bash
# Run every check: ruff, mypy, and the tests. The last line is the result: N passed, N failed.
#   ./run_tests.sh                 everything
#   ./run_tests.sh quick           what takes no other process: ruff, mypy, and the tests that are not marked `slow`
#   ./run_tests.sh tests.vast      the tests of a part
#   ./run_tests.sh random [...]    the same with five times as many random draws, of a new seed, which is printed;
#                                  VESPA_TEST_SEED and VESPA_TEST_EXAMPLES repeat it (tests/seeds.py)
#   ./run_tests.sh coverage [...]  the tests of `quick` with coverage measured; it fails below pyproject.toml's bound
# Options are tests/run.py's: --jobs=N, --slowest=N, and others that --help lists.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
. scripts/environment.sh
# Hundreds of processes import the same modules, which are compiled when they are first imported: once, not each time.
unset PYTHONDONTWRITEBYTECODE

mode=${1:-}
case $mode in
random | quick | coverage) shift ;;
*) mode= ;;
esac
if [ "$mode" = random ]; then
    export VESPA_TEST_SEED=${VESPA_TEST_SEED:-$((RANDOM * 32768 + RANDOM + 1))} VESPA_TEST_EXAMPLES=${VESPA_TEST_EXAMPLES:-5}
fi
names=$(printf '%s\n' "$@" | grep -v '^-' || true)
real_parts=
case "$mode $names" in
quick* | coverage*) ;;
*" " | *" tests" | *e2e* | *test_examples* | *tests.deploy*) real_parts=yes ;;
esac

environment=${VIRTUAL_ENV:-$here/.venv}
# Megabytes: what the environments take that are not there yet, and what tests write and remove.
needed=100
[ -x "$environment/bin/python" ] || needed=$((needed + 200))
if [ -n "$real_parts" ]; then
    [ -e .venv-e2e ] || needed=$((needed + 580))
fi
free=$(($(df -Pk "$here" | awk 'NR == 2 { print $4 }') / 1024))
echo "disk: about $needed MB needed in $here, $free MB are free"
[ "$free" -gt "$needed" ] || fail "there is too little room on the disk: make $needed MB free in $here and try again"

make_environment "$environment"
python=$environment/bin/python
install_checkout "$python" "$here" test,otlp || fail "pip could not install what the tests need; its output is above"
if [ -n "$real_parts" ]; then
    install_real_parts "$python" "$here" ||
        echo "the real parts could not be installed; the end-to-end tests that need them are skipped"
fi

if [ "$mode" = coverage ]; then
    "$python" -m coverage erase
    said=$(mktemp)
    status=0
    "$python" -m coverage run -m tests.run --quick --no-checks "$@" | tee "$said" || status=1
    "$python" -m coverage combine --quiet && "$python" -m coverage report || status=1
    tail -n 1 "$said" # the result is the last line
    rm "$said"
    exit "$status"
fi
[ "$mode" != quick ] || set -- --quick "$@"
exec "$python" -m tests.run "$@"
