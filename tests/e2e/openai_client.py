"""Run by the end-to-end Python: send requests by OpenAI's client, signed on their way out.

The job comes as JSON on standard input:
{autoscaler, endpoint, endpoint_key, requests: [{call: chat | text | models, stream, arguments}]}
Prints one JSON result a line.
"""

import json
import urllib.parse
import urllib.request

import openai
from job import read

try:
    import httpx2 as httpx
except ImportError:
    import httpx

FIELDS = ("cost", "endpoint", "reqnum", "request_idx", "signature", "url")
NOT_FORWARDED = {"host", "content-length", "authorization"}


class Signing(httpx.BaseTransport):
    """Asks the autoscaler for a worker, and sends it the request in an envelope: the body's, or the query's."""

    def __init__(self, job):
        self.job = job
        self.inner = httpx.HTTPTransport()

    def assignment(self):
        asked = {"endpoint": self.job["endpoint"], "api_key": self.job["endpoint_key"]}
        asked.update(cost=100, request_idx=0, replay_timeout=60.0)
        headers = {"Authorization": "Bearer " + self.job["endpoint_key"], "Content-Type": "application/json"}
        call = urllib.request.Request(self.job["autoscaler"] + "/route/", json.dumps(asked).encode(), headers)
        with urllib.request.urlopen(call, timeout=10) as response:
            return json.load(response)

    def handle_request(self, request):
        auth = self.assignment()
        body = request.read()
        url = auth["url"] + request.url.raw_path.decode()
        if body:
            body = b'{"auth_data": ' + json.dumps(auth).encode() + b', "payload": ' + body + b"}"
        else:
            lexemes = {name: auth[name] if isinstance(auth[name], str) else json.dumps(auth[name]) for name in FIELDS}
            fields = urllib.parse.urlencode({"serverless_" + name: value for name, value in lexemes.items()})
            url += ("&" if "?" in url else "?") + fields
        headers = [(name, value) for name, value in request.headers.raw if name.decode().lower() not in NOT_FORWARDED]
        outgoing = httpx.Request(
            request.method, url, headers=headers, content=body or None, extensions=request.extensions
        )
        return self.inner.handle_request(outgoing)


def send(client, wanted):
    """Make one call and say what came."""
    stream, arguments = wanted.get("stream", False), wanted.get("arguments", {})
    try:
        if wanted["call"] == "models":
            return {"models": [model.id for model in client.models.list()]}
        if wanted["call"] == "chat":
            answer = client.chat.completions.create(stream=stream, **arguments)
            if not stream:
                return {"text": answer.choices[0].message.content, "tokens": answer.usage.completion_tokens}
            pieces = [chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices]
        else:
            answer = client.completions.create(stream=stream, **arguments)
            if not stream:
                return {"text": answer.choices[0].text, "tokens": answer.usage.completion_tokens}
            pieces = [chunk.choices[0].text for chunk in answer if chunk.choices]
        return {"text": "".join(pieces), "pieces": len(pieces)}
    except openai.APIStatusError as error:
        return {"status": error.status_code, "error": error.body}


def main():
    """Make the job's calls one after another."""
    job = read()
    http = httpx.Client(transport=Signing(job))
    client = openai.OpenAI(base_url="http://worker/v1", api_key="unused", http_client=http, max_retries=0, timeout=30)
    for wanted in job["requests"]:
        print(json.dumps(send(client, wanted)), flush=True)


if __name__ == "__main__":
    main()
