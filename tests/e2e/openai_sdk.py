"""Run by the end-to-end Python: OpenAI's client as its users write it, but for the base URL. See job.py.

A request is {call: chat | text | models | embeddings | responses, stream, arguments}.
"""

import job
import openai


def texts(response, wanted):
    """The texts that a stream brings."""
    for event in response:
        if wanted["call"] == "responses":
            if event.type == "response.output_text.delta":
                yield event.delta
        elif event.choices:
            choice = event.choices[0]
            yield (choice.delta.content if wanted["call"] == "chat" else choice.text) or ""


def send(url, wanted):
    """Make one call and say what came."""
    client = openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0, timeout=60)
    stream, arguments = wanted.get("stream", False), wanted.get("arguments", {})
    if wanted["call"] == "models":
        return {"models": [model.id for model in client.models.list()]}
    if wanted["call"] == "embeddings":
        return {"vectors": [each.embedding for each in client.embeddings.create(**arguments).data]}
    create = {
        "chat": client.chat.completions.create,
        "text": client.completions.create,
        "responses": client.responses.create,
    }[wanted["call"]]
    response = create(stream=stream, **arguments)
    if stream:
        return job.collect(texts(response, wanted), wanted)
    if wanted["call"] == "responses":
        return {"text": response.output_text, "tokens": response.usage.output_tokens}
    text = response.choices[0].message.content if wanted["call"] == "chat" else response.choices[0].text
    return {"text": text, "tokens": response.usage.completion_tokens}


if __name__ == "__main__":
    job.run(send)
