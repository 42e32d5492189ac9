#!/bin/sh
# The same with curl: whole, as a stream, a parameter in the query, a file in a form.
set -eu
URL="${VESPA_URL:-http://localhost:8010}"
MODEL="${MODEL_NAME:-vespa-demo}"

ask() {  # the token goes through a file descriptor: what stands on a command line, every user of the machine can read
    printf 'header = "Authorization: Bearer %s"\n' "${VESPA_CLIENT_TOKEN:-unused}" |
        curl --config - --noproxy '*' --silent --show-error --max-time 600 "$@"
    echo
}

echo "== whole"
ask --fail-with-body "$URL/v1/chat/completions" --json \
    '{"model": "'"$MODEL"'", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 20}'

echo "== as a stream"
ask --fail-with-body --no-buffer "$URL/v1/chat/completions" --json \
    '{"model": "'"$MODEL"'", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 20, "stream": true}'

echo "== a GET, with a cost of its own"
ask --fail-with-body --header 'X-Serverless-Cost: 1' "$URL/v1/models?limit=5"

echo "== a file in a form, for a backend that transcribes; others answer with an error of their own"
ask "$URL/v1/audio/transcriptions" --form "model=$MODEL" --form 'file=@/dev/null;filename=silence.wav;type=audio/wav'
