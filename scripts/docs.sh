#!/usr/bin/env bash
# Build the documentation as a site in build/docs, with Sphinx in an environment of its own. A warning is an error.
#   ./scripts/docs.sh           build; the last line is the page to open
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
# shellcheck source=scripts/environment.sh
. scripts/environment.sh

environment=${VIRTUAL_ENV:-$here/.venv-docs}
make_environment "$environment"
install_checkout "$environment/bin/python" "$here" docs || fail "pip could not install what the documentation needs; its output is above"
"$environment/bin/python" -m sphinx --fail-on-warning --keep-going --quiet --conf-dir docs --doctree-dir build/doctrees . build/docs
echo "$here/build/docs/index.html"
