"""Run by the end-to-end Python: LangChain's model for OpenAI-like servers, but for the base URL. See job.py.

A request is {stream, async, text, options}.
"""

import asyncio

import job
from langchain_openai import ChatOpenAI

LOOP = asyncio.new_event_loop()  # one for all calls: LangChain keeps its connections beyond a call


async def collect_async(pieces):
    """The texts of an asynchronous stream."""
    return [piece.content async for piece in pieces]


def send(url, wanted):
    """Make one call and say what came."""
    model = ChatOpenAI(base_url=url + "/v1", api_key="unused", max_retries=0, timeout=60, **wanted["options"])
    if wanted.get("async"):
        if wanted.get("stream"):
            return job.collect(LOOP.run_until_complete(collect_async(model.astream(wanted["text"]))), wanted)
        response = LOOP.run_until_complete(model.ainvoke(wanted["text"]))
    elif wanted.get("stream"):
        return job.collect((piece.content for piece in model.stream(wanted["text"])), wanted)
    else:
        response = model.invoke(wanted["text"])
    return {"text": response.content, "tokens": response.usage_metadata["output_tokens"]}


if __name__ == "__main__":
    job.run(send)
