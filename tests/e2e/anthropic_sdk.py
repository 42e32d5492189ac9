"""Run by the end-to-end Python: Anthropic's client as its users write it, but for the base URL. See job.py.

A request is {call: messages | count, stream, arguments}.
"""

import anthropic
import job


def send(url, wanted):
    """Make one call and say what came."""
    client = anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0, timeout=60)
    arguments = wanted["arguments"]
    if wanted["call"] == "count":
        return {"tokens": client.messages.count_tokens(**arguments).input_tokens}
    if wanted.get("stream"):
        with client.messages.stream(**arguments) as stream:
            return job.collect(stream.text_stream, wanted)
    response = client.messages.create(**arguments)
    text = "".join(block.text for block in response.content if block.type == "text")
    return {"text": text, "tokens": response.usage.output_tokens, "stop_reason": response.stop_reason}


if __name__ == "__main__":
    job.run(send)
