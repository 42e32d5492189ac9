#!/bin/sh
# The entry point of the image: `vespa-entrypoint worker`, or another command of vespa-proxy with its options.
set -eu

# Requests of Vast.ai's autoscaler are signed, and a worker demands that. Vast sets CONTAINER_ID on its machines. Elsewhere
# there is nobody who signs, and a container's loopback cannot be reached. So there, and unless the settings say otherwise,
# everyone who can reach the container's port may send requests. Who that is, the container's network and `-p` decide.
# `check` and `benchmark` read a worker's settings too, so they get the same.
case "${1:-}" in
worker | check | benchmark) of_worker=yes ;;
*) of_worker= ;;
esac
if [ -n "$of_worker" ] && [ -z "${CONTAINER_ID:-}${VESPA_UNSECURED:-}${UNSECURED:-}" ]; then
    [ "$1" != worker ] || echo "vespa-entrypoint: CONTAINER_ID is not set, so this is no machine of Vast.ai: requests need no signature," \
        "and everyone who can reach port ${VESPA_WORKER_PORT:-3000} may send them." \
        "Publish the port on loopback only (-p 127.0.0.1:3000:3000), or to a private network." >&2
    export VESPA_UNSECURED=true VESPA_UNSECURED_PUBLIC="${VESPA_UNSECURED_PUBLIC:-true}"
fi

# In this process, so that signals reach Vespa itself.
exec vespa-proxy "$@"
