"""Against real parts: llama.cpp, Vast's own client, OpenAI's client. Each test skips where its wheel is missing."""

slow = True
