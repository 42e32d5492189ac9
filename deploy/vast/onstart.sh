#!/bin/bash
# The on-start script of a Vast.ai template whose image starts neither the inference server nor Vespa by itself: it keeps
# both running. README.md beside this file says where it goes. Its settings are in the template's environment:
#
#   BACKEND_COMMAND  the command line of the inference server, which listens on loopback
#   PYWORKER_REPO    the address of Vespa's repository
#   PYWORKER_REF     a tag or a commit of it; without it the newest
#   WORKSPACE        the folder for everything (/workspace)
#
# and Vespa's own (VESPA_BACKEND_URL, VESPA_BENCHMARK, ...), which `vespa-proxy settings` lists.
#
# Vast runs this at every start of the machine, and waits for its end. So everything here may have been done before, and
# what keeps running does so in the background.
set -euo pipefail

: "${BACKEND_COMMAND:?set it in the environment of the template: the command line of the inference server}"
: "${PYWORKER_REPO:?set it in the environment of the template: the address of the repository of Vespa}"
workspace=${WORKSPACE:-/workspace}
vespa=$workspace/vespa
log_bytes=50000000 # a log is renamed to .1 at this size, and replaces the one before: it takes twice as much at most
pause=5            # seconds until what has ended is started again

# Writes its input to a file of bounded size, because a full disk would stop the model server too. A line that cannot be
# written is lost: if this ended, the next line would end the program that writes it.
bounded_log() {
    local file=$1 line size=0
    [ ! -e "$file" ] || size=$(stat -c %s "$file")
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line" >>"$file" || true
        size=$((size + ${#line} + 1))
        [ "$size" -lt "$log_bytes" ] || { mv "$file" "$file.1" && size=0; } || true
    done
}

# Runs a command again and again. Exit code 0 is Vespa's after SIGTERM, and then means that it shall stay stopped.
keep_running() {
    while ! "$@"; do
        echo "ended; it is started again in $pause s"
        sleep "$pause"
    done
}

mkdir -p "$workspace"

# Images of inference servers often have neither git nor Python's venv. start_server.sh installs the latter.
if ! command -v git >/dev/null || ! command -v python3 >/dev/null; then
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git python3 ca-certificates
fi
[ -e "$vespa/.git" ] || git clone --quiet "$PYWORKER_REPO" "$vespa"
if [ -n "${PYWORKER_REF:-}" ]; then
    # A machine that was stopped may have another version.
    git -C "$vespa" fetch --quiet --tags origin
    git -C "$vespa" checkout --quiet "$PYWORKER_REF"
fi

# Nothing of the following holds the output of this script open. A model server that ends has failed, whatever its code.
backend() { bash -c "$BACKEND_COMMAND" || true; return 1; }
keep_running backend </dev/null 2>&1 | bounded_log "$workspace/backend.log" &>/dev/null &

# It makes an environment, has Vast sign a certificate, and starts the worker, which waits for the model.
keep_running "$vespa/start_server.sh" </dev/null 2>&1 | bounded_log "$workspace/vespa.log" &>/dev/null &

disown -a # the end of this script is not theirs
