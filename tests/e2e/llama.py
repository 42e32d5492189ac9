"""Run by the end-to-end Python: serve llama.cpp with a tiny model of random weights. Argument: a folder for the model.

Prints `listening PORT` once it serves. Ends by a signal.
"""

import os
import signal
import socket
import sys

WIDTH, LAYERS, HEADS, FEED, CONTEXT = 64, 2, 4, 128, 2048
WORDS = ("the", "worker", "signs", "nothing", "and", "forwards", "every", "byte", "")


def tokens(kinds):
    """The vocabulary as (text, kind, score): specials, one token for each byte, a few words, printable characters.

    No text may stand twice: llama.cpp aborts on it.
    """
    yield "<unk>", kinds.UNKNOWN, 0.0
    yield "<s>", kinds.CONTROL, 0.0
    yield "</s>", kinds.CONTROL, 0.0
    for byte in range(256):
        yield f"<0x{byte:02X}>", kinds.BYTE, 0.0
    for place, text in enumerate([f"\u2581{word}" for word in WORDS] + [chr(code) for code in range(33, 127)]):
        yield text, kinds.NORMAL, -1.0 - place


def write_model(path):
    """Write a model that llama.cpp loads; what it says is noise, but the same noise every time."""
    import gguf
    import numpy

    noise = numpy.random.default_rng(7)
    vocabulary = list(tokens(gguf.TokenType))

    def random(*shape):
        return (noise.standard_normal(shape) * 0.05).astype(numpy.float32)

    def ones():
        return numpy.ones(WIDTH, numpy.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("noise")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text.encode("utf-8") for text, _, _ in vocabulary])
    writer.add_token_types([kind for _, kind, _ in vocabulary])
    writer.add_token_scores([score for _, _, score in vocabulary])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")

    # Only words and printable characters are ever likely: llama.cpp streams half a character differently than it
    # answers it whole, and tests compare the two.
    unlikely = sum(kind != gguf.TokenType.NORMAL for _, kind, _ in vocabulary)
    output = random(len(vocabulary), WIDTH)
    output[:unlikely] = 0
    tensors = {
        "token_embd.weight": random(len(vocabulary), WIDTH),
        "output_norm.weight": ones(),
        "output.weight": output,
    }
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH, WIDTH),
            "attn_v": (WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (FEED, WIDTH),
            "ffn_up": (FEED, WIDTH),
            "ffn_down": (WIDTH, FEED),
        }
        tensors.update({f"blk.{layer}.{name}.weight": random(*shape) for name, shape in shapes.items()})
        tensors.update({f"blk.{layer}.{name}.weight": ones() for name in ("attn_norm", "ffn_norm")})
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(path):
    """Serve the model on a free port of loopback; return the server, which must be kept."""
    import xllamacpp

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = "noise" if isinstance(params.model_alias, str) else {"noise"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = CONTEXT
    params.n_parallel = 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 4
    params.warmup = False
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print("listening", port, flush=True)
    return server


def main():
    """Serve until a signal comes."""
    path = os.path.join(sys.argv[1], "noise.gguf")
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
