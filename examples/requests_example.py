"""Plain HTTP with requests: a chat, a stream and an error. pip install requests"""

import json
import os

import requests

MODEL = os.environ.get("MODEL_NAME", "vespa-demo")
URL = os.environ.get("VESPA_URL", "http://localhost:8010")
TOKEN = os.environ.get("VESPA_CLIENT_TOKEN", "")


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 50, **more}


session = requests.Session()
session.trust_env = False  # HTTP_PROXY and ~/.netrc are not for this machine
if TOKEN:
    session.headers["Authorization"] = f"Bearer {TOKEN}"

response = session.post(f"{URL}/v1/chat/completions", json=chat("Say hello."), timeout=600)
response.raise_for_status()
print(response.json()["choices"][0]["message"]["content"])

with session.post(f"{URL}/v1/chat/completions", json=chat("Count.", stream=True), stream=True, timeout=600) as response:
    response.raise_for_status()
    for line in response.iter_lines():
        if line.startswith(b"data: {"):
            choices = json.loads(line[6:])["choices"]
            print(choices[0]["delta"].get("content") or "" if choices else "", end="", flush=True)
print()

response = session.get(f"{URL}/no/such/path", timeout=600)
# An error with X-Vespa-Error is the proxy's or a worker's; one without it is the backend's own.
print(response.status_code, response.headers.get("X-Vespa-Error", "from the backend"))
