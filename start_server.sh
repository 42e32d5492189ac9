#!/usr/bin/env bash
# Start Vespa on a machine where nothing is prepared.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: ./start_server.sh              start a worker, as on a rented machine of Vast.ai
       ./start_server.sh check [...]  examine what that worker would meet: vespa-proxy check --production
       ./start_server.sh demo [...]   show everything at work on this machine, with nothing else needed

The worker's settings are environment variables (README.md lists them). Here VESPA_USE_SSL is true
where CONTAINER_ID is set: a certificate is signed by Vast and kept. A failure is reported to the autoscaler.

  VESPA_VENV      where the virtual environment is (.venv beside this script, or ~/.vespa-venv)
  VESPA_PYTHON    an interpreter that has everything installed: no environment is made
  VESPA_SIGN_URL  who signs the certificate (VESPA_SIGN_TRIES: how often that is tried)
TEXT
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mode=${1:-worker}
case $mode in
worker | check | demo) [ $# = 0 ] || shift ;;
-h | --help) usage && exit ;;
*) usage >&2 && exit 2 ;;
esac

fail() {
    echo "error: $*" >&2
    if [ "$mode" = worker ] && command -v python3 >/dev/null; then
        PYTHONPATH=$here python3 -m vespa.worker.failure_report "start_server.sh: $*" || true
    fi
    exit 1
}

# pip leaves it to the first import to compile a module. Many images forbid to keep the result: each start would take
# twice the processor time.
unset PYTHONDONTWRITEBYTECODE

# shellcheck source=scripts/environment.sh
. "$here/scripts/environment.sh"

if [ -n "${VESPA_PYTHON:-}" ]; then
    python=$VESPA_PYTHON
else
    if [ -z "${VESPA_VENV:-}" ]; then
        VESPA_VENV=$here/.venv
        [ -w "$here" ] || VESPA_VENV=$HOME/.vespa-venv
    fi
    make_environment "$VESPA_VENV"
    python=$VESPA_VENV/bin/python
    parts=
    [ "$mode" = demo ] || parts=worker
    install_checkout "$python" "$here" "$parts" || fail "pip could not install Vespa; its output is above"
fi

# From here on signals reach Python itself; worker.py sees to the certificate and reports a failure.
if [ "$mode" = demo ]; then
    exec "$python" -m vespa.cli demo "$@"
fi
if [ "$mode" = check ]; then
    exec "$python" -m vespa.cli check --production "$@"
fi
exec "$python" "$here/worker.py"
