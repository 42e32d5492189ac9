#!/usr/bin/env bash
# Write constraints.txt anew: the newest version of each dependency that works on Python 3.10 and later, on all systems.
#   ./scripts/constraints.sh              versions that are at least a week old
#   ./scripts/constraints.sh "0 days"     the newest, for a security release
# uv resolves them, in an environment of its own. Run the tests before you commit the result.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
# shellcheck source=scripts/environment.sh
. scripts/environment.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
make_environment "$folder/environment"
"$folder/environment/bin/python" -m pip install --disable-pip-version-check -qq "uv>=0.9" || fail "pip could not install uv"

cat >"$folder/constraints.txt" <<'TEXT'
# The exact versions that Vespa is tested with. ./scripts/constraints.sh writes this file; docs/dependencies.md says when.
TEXT
"$folder/environment/bin/uv" pip compile setup.cfg --all-extras --universal --python-version 3.10 --no-python-downloads \
    --exclude-newer "${1:-7 days}" --no-annotate --no-header --quiet >>"$folder/constraints.txt"
cp "$folder/constraints.txt" constraints.txt
git --no-pager diff --stat -- constraints.txt || true
