"""No proxy to start: the client is a part of the program. pip install openai, and this package"""

import asyncio
import os

from openai import AsyncOpenAI, OpenAI

from vespa.client import VastClient

MODEL = os.environ.get("MODEL_NAME", "vespa-demo")
QUESTION = [{"role": "user", "content": "Say hello."}]

client = VastClient(
    endpoint_name=os.environ["VAST_ENDPOINT"],
    api_key=os.environ.get("VAST_API_KEY", ""),  # the endpoint's; with the account's alone it is looked up
    account_key=os.environ.get("VAST_ACCOUNT_KEY", ""),
    autoscaler_url=os.environ.get("VAST_AUTOSCALER_URL", ""),
    console_url=os.environ.get("VAST_CONSOLE_URL", "https://console.vast.ai"),
)


async def ask(asking: AsyncOpenAI, number: int) -> str:
    response = await asking.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=20)  # type: ignore[arg-type]
    return f"{number}: {response.choices[0].message.content}"


async def main() -> None:
    async with client:
        asking = AsyncOpenAI(base_url=f"{client.url}/v1", api_key="unused", max_retries=0)
        for response in await asyncio.gather(*(ask(asking, number) for number in range(3))):
            print(response)


asyncio.run(main())

# The proxy has a thread of its own, so blocking calls are as good, with a loop or without.
with client:
    blocking = OpenAI(base_url=f"{client.url}/v1", api_key="unused", max_retries=0)
    print(blocking.models.list().data[0].id)
