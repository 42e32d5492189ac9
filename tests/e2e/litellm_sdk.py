"""Run by the end-to-end Python: LiteLLM as its users write it, but for the base URL. See job.py.

A request is {stream, provider: openai | anthropic, arguments}.
"""

import os

import job

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it is fetched from the network otherwise

import litellm


def send(url, wanted):
    """Make one call and say what came."""
    provider = wanted.get("provider", "openai")
    stream, arguments = wanted.get("stream", False), wanted["arguments"]
    base = url + "/v1" if provider == "openai" else url
    response = litellm.completion(
        model=f"{provider}/noise", api_base=base, api_key="unused", num_retries=0, max_retries=0, timeout=60,
        stream=stream, **arguments,
    )  # fmt: skip
    if stream:
        return job.collect((chunk.choices[0].delta.content or "" for chunk in response), wanted)
    return {"text": response.choices[0].message.content, "tokens": response.usage.completion_tokens}


if __name__ == "__main__":
    job.run(send)
