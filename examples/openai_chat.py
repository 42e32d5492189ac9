"""A chat, whole and as a stream, with OpenAI's library: pip install openai"""

import os

from openai import OpenAI

MODEL = os.environ.get("MODEL_NAME", "vespa-demo")
URL = os.environ.get("VESPA_URL", "http://localhost:8010")

# Keys stay with the proxy: whatever is given here ends there. The worker may first have to be started: be patient.
client = OpenAI(
    base_url=f"{URL}/v1", api_key=os.environ.get("VESPA_CLIENT_TOKEN", "unused"), timeout=600, max_retries=0
)

response = client.chat.completions.create(
    model=MODEL,
    messages=[{"role": "user", "content": "Say hello."}],
    max_tokens=50,
    extra_headers={"X-Serverless-Cost": "50"},  # what the autoscaler reckons with; the benchmark here counts tokens
)
print(response.choices[0].message.content)

stream = client.chat.completions.create(
    model=MODEL,
    messages=[{"role": "user", "content": "Count to ten."}],
    max_tokens=50,
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
