"""Run by the end-to-end Python: serve llama.cpp with a tiny model of random weights. Argument: a folder for the model.

Prints `listening PORT` once it serves. Ends by a signal.
"""

import argparse
import array
import math
import os
import random
import signal
import struct

WIDTH, LAYERS, HEADS, FEED, CONTEXT = 64, 2, 4, 128, 2048
WORDS = ("the", "worker", "signs", "nothing", "and", "forwards", "every", "byte", "")


NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
"""Kinds of tokens, as llama.cpp numbers them."""

# Types of values in a GGUF file, and how they are packed.
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
PACKED = {UINT32: "<I", INT32: "<i", FLOAT32: "<f"}
ALIGNMENT = 32


def tokens():
    """The vocabulary as (text, kind, score): specials, one token for each byte, a few words, printable characters.

    No text may stand twice: llama.cpp aborts on it.
    """
    yield "<unk>", UNKNOWN, 0.0
    yield "<s>", CONTROL, 0.0
    yield "</s>", CONTROL, 0.0
    for byte in range(256):
        yield f"<0x{byte:02X}>", BYTE, 0.0
    for place, text in enumerate([f"\u2581{word}" for word in WORDS] + [chr(code) for code in range(33, 127)]):
        yield text, NORMAL, -1.0 - place


def packed(kind, value):
    """A value of a GGUF file; of an array the kind is (ARRAY, kind of its items)."""
    if kind == STRING:
        text = value.encode("utf-8")
        return struct.pack("<Q", len(text)) + text
    if isinstance(kind, tuple):
        return struct.pack("<IQ", kind[1], len(value)) + b"".join(packed(kind[1], item) for item in value)
    return struct.pack(PACKED[kind], value)


def metadata():
    """What the file says of its model, as (name, kind, value)."""
    vocabulary = list(tokens())
    yield "general.architecture", STRING, "llama"
    yield "general.name", STRING, "noise"
    yield "general.file_type", UINT32, 0  # all tensors are of 32-bit floats
    yield "llama.context_length", UINT32, CONTEXT
    yield "llama.embedding_length", UINT32, WIDTH
    yield "llama.block_count", UINT32, LAYERS
    yield "llama.feed_forward_length", UINT32, FEED
    yield "llama.attention.head_count", UINT32, HEADS
    yield "llama.attention.head_count_kv", UINT32, HEADS
    yield "llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5
    yield "llama.rope.dimension_count", UINT32, WIDTH // HEADS
    yield "llama.vocab_size", UINT32, len(vocabulary)
    yield "tokenizer.ggml.model", STRING, "llama"
    yield "tokenizer.ggml.pre", STRING, "default"
    yield "tokenizer.ggml.tokens", (ARRAY, STRING), [text for text, _, _ in vocabulary]
    yield "tokenizer.ggml.token_type", (ARRAY, INT32), [kind for _, kind, _ in vocabulary]
    yield "tokenizer.ggml.scores", (ARRAY, FLOAT32), [score for _, _, score in vocabulary]
    yield "tokenizer.ggml.unknown_token_id", UINT32, 0
    yield "tokenizer.ggml.bos_token_id", UINT32, 1
    yield "tokenizer.ggml.eos_token_id", UINT32, 2
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    yield "tokenizer.chat_template", STRING, template


def tensors():
    """The weights by name, as (shape, values); a shape's last number is of the values beside each other."""
    noise = random.Random(7)

    def drawn(*shape):
        return shape, array.array("f", (noise.gauss(0.0, 0.05) for _ in range(math.prod(shape))))

    def ones():
        return (WIDTH,), array.array("f", [1.0] * WIDTH)

    # Only words and printable characters are ever likely: llama.cpp streams half a character differently than it
    # answers it whole, and tests compare the two.
    kinds = [kind for _, kind, _ in tokens()]
    shape, output = drawn(len(kinds), WIDTH)
    unlikely = WIDTH * sum(kind != NORMAL for kind in kinds)
    output[:unlikely] = array.array("f", [0.0] * unlikely)
    yield "token_embd.weight", drawn(len(kinds), WIDTH)
    yield "output_norm.weight", ones()
    yield "output.weight", (shape, output)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", drawn(WIDTH, WIDTH)
        yield f"blk.{layer}.ffn_gate.weight", drawn(FEED, WIDTH)
        yield f"blk.{layer}.ffn_up.weight", drawn(FEED, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", drawn(WIDTH, FEED)
        yield f"blk.{layer}.attn_norm.weight", ones()
        yield f"blk.{layer}.ffn_norm.weight", ones()


def write_model(path):
    """Write a model that llama.cpp loads; what it says is noise, but the same noise every time.

    The format is GGUF, version 3. The package `gguf` writes it too; it needs NumPy, which takes more room than this.
    """
    values, weights = list(metadata()), list(tensors())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(values))
    for name, kind, value in values:
        number = kind[0] if isinstance(kind, tuple) else kind
        head += packed(STRING, name) + struct.pack("<I", number) + packed(kind, value)
    data = b""
    for name, (shape, numbers) in weights:
        head += packed(STRING, name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += struct.pack("<IQ", 0, len(data))  # 32-bit floats, from there in the data on
        data += numbers.tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT) + data)


def serve(path):
    """Serve the model on a free port of loopback; return the server, which must be kept."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = "noise" if isinstance(params.model_alias, str) else {"noise"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT
    params.n_parallel = 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 4
    params.warmup = False
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print("listening", server.listening_address.rpartition(":")[2], flush=True)
    return server


def main():
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Serve llama.cpp with a tiny model of random weights.")
    parser.add_argument("folder", help="where the model is, or is written")
    folder = parser.parse_args().folder
    if not os.path.isdir(folder):
        parser.error(f"there is no folder {folder}")
    path = os.path.join(folder, "noise.gguf")
    if not os.path.exists(path):
        write_model(path + ".part")
        os.replace(path + ".part", path)
    server = serve(path)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # The wheel's own shutdown waits for connections; nobody needs it to.
    os._exit(0 if server else 1)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
