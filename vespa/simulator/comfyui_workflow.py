"""Workflows of the stand-in of ComfyUI: which nodes it knows, what is wrong with one, and a small one to try."""

from __future__ import annotations

from typing import Any, Final

NODES: Final[dict[str, tuple[str, ...]]] = {
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CLIPTextEncode": ("text", "clip"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "KSampler": ("seed", "steps", "model", "latent_image"),
    "VAEDecode": ("samples", "vae"),
    "SaveImage": ("images",),
    "Broken": (),
}
"""The kinds of nodes, with the inputs that each needs. `Broken` is the stand-in's own: it fails when it is executed."""
OUTPUTS: Final = frozenset(("SaveImage",))


def validate(prompt: object) -> tuple[dict[str, Any] | None, dict[str, Any], list[str]]:
    """
    Check a workflow. Returns the error or None, the errors of each node, and the nodes with outputs.

    ComfyUI also checks the inputs' types and links.
    """
    if not isinstance(prompt, dict):
        return _error("no_prompt", "No prompt provided", "No prompt provided"), {}, []
    outputs = []
    for name, node in prompt.items():
        kind = node.get("class_type") if isinstance(node, dict) else None
        if kind not in NODES:
            text = f"Node '{kind}' not found." if kind else "Node is missing the class_type property."
            return _error("missing_node_type" if kind else "invalid_prompt", text, f"Node ID '#{name}'"), {}, []
        if kind in OUTPUTS:
            outputs.append(name)
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs", ""), {}, []
    wrong: dict[str, Any] = {}
    for name, node in prompt.items():
        missing = [each for each in NODES[node["class_type"]] if each not in node.get("inputs", {})]
        if missing:
            errors = [
                {
                    "type": "required_input_missing",
                    "message": "Required input is missing",
                    "details": each,
                    "extra_info": {"input_name": each},
                }
                for each in missing
            ]
            wrong[name] = {"errors": errors, "dependent_outputs": outputs, "class_type": node["class_type"]}
    if wrong:
        return _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", ""), wrong, []
    return None, {}, outputs


def _error(kind: str, message: str, details: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def workflow(steps: int = 20, seed: int = 1, *, broken: bool = False) -> dict[str, Any]:
    """A small workflow of text to image, which the stand-in executes."""
    nodes: dict[str, Any] = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "model.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a house", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {"seed": seed, "steps": steps, "model": ["4", 0], "positive": ["6", 0], "latent_image": ["5", 0]},
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "vespa"}},
    }
    if broken:
        nodes["7"] = {"class_type": "Broken", "inputs": {}}
    return nodes


def steps_of(name: str, node: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The steps of a node: its name, the number of the step, and how many there are."""
    steps = node["inputs"].get("steps", 1) if node["class_type"] == "KSampler" else 1
    return [(name, number + 1, steps) for number in range(steps)]
