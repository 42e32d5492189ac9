# Sourced by start_server.sh and run_tests.sh: a virtual environment with this checkout in it.
# `fail MESSAGE` may be defined by whoever sources this; it must not return.

if ! declare -F fail >/dev/null; then
    fail() {
        echo "error: $*" >&2
        exit 1
    }
fi

# Prints the first Python that is new enough.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# make_environment FOLDER: make a virtual environment there, unless there is one.
make_environment() {
    local folder=$1 python way
    [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1 && return
    python=$(find_python) || fail "no Python 3.10 or newer was found; install python3 first"
    [ -e "$folder" ] && fail "$folder is there and is no working virtual environment; remove it and try again"
    echo "making a virtual environment in $folder"
    for way in venv virtualenv apt; do
        if [ "$way" = apt ]; then
            # Debian and Ubuntu ship python3 without ensurepip, which venv needs.
            [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || break
            echo "installing python3-venv"
            { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv; } >/dev/null 2>&1 || break
            way=venv
        fi
        "$python" -m "$way" "$folder" >/dev/null 2>&1 && return
        rm -rf "$folder" # only what this loop has just made
    done
    fail "no virtual environment could be made: install python3-venv (apt-get install python3-venv) or virtualenv"
}

# install_checkout PYTHON CHECKOUT EXTRAS: install it, editable, in the versions of constraints.txt, unless just this was done
# before. EXTRAS may be empty: all commands. `worker` is less than that: only what a worker imports.
install_checkout() {
    local python=$1 checkout=$2 extras=$3 prefix stamp wanted pip
    # Modules are compiled when they are first imported: most never are, and would take half of the space.
    pip=("$python" -m pip install --disable-pip-version-check --no-compile -qq)
    prefix=$("$python" -c 'import sys; print(sys.prefix)')
    stamp="$prefix/.vespa-installed${extras:+-${extras//,/-}}"
    wanted="$checkout $(cd "$checkout" && cat setup.cfg pyproject.toml requirements.txt constraints.txt | cksum)"
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
    # Whatever else was installed has all that a worker needs.
    [ "$extras" = worker ] && grep -qsxF "$wanted" "$prefix"/.vespa-installed* && return
    echo "installing Vespa${extras:+ with $extras}, which takes about a minute"
    if [ "$extras" = worker ]; then
        "${pip[@]}" --requirement "$checkout/requirements.txt" && "${pip[@]}" --no-deps --editable "$checkout" || return 1
    else
        "${pip[@]}" --constraint "$checkout/constraints.txt" --editable "$checkout${extras:+[$extras]}" || return 1
    fi
    echo "$wanted" >"$stamp"
}

# install_real_parts PYTHON CHECKOUT: llama.cpp, the official client and other people's SDKs, in an environment of their
# own, by the pip of PYTHON, unless just this was done before.
install_real_parts() {
    local python=$1 checkout=$2 folder=$2/.venv-e2e lists=$2/tests/e2e wanted pip
    wanted=$(cat "$lists/requirements.txt" "$lists/requirements-no-deps.txt" | cksum)
    [ -e "$folder/.installed" ] && [ "$(cat "$folder/.installed")" = "$wanted" ] && return
    echo "installing the real parts of the end-to-end tests in $folder"
    rm -rf "$folder"
    "$python" -m venv --without-pip "$folder" || return 1
    pip=("$python" -m pip --python "$folder/bin/python" install --disable-pip-version-check --no-compile -qq)
    "${pip[@]}" --requirement "$lists/requirements.txt" || return 1
    "${pip[@]}" --no-deps --requirement "$lists/requirements-no-deps.txt" || return 1
    rm -rf "$folder"/lib/python*/site-packages/litellm/proxy/_experimental # the pages of a server that is not started
    # Compiles what the tests import, so that the first of them does not wait for it.
    env -u PYTHONDONTWRITEBYTECODE LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/bin/python" -c \
        "import anthropic, langchain_openai, litellm, vastai.serverless.server.worker" >/dev/null 2>&1 || true
    echo "$wanted" >"$folder/.installed"
}
