"""The files in `deploy/`, read as the programs read them that take them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"

TOKEN = "a-token-that-is-long-enough"
"""In the place of each secret."""


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file. Raises yaml.YAMLError; a name that stands twice in one mapping is an error too."""
    return list(yaml.load_all(path.read_text("utf-8"), Loader=StrictLoader))


class StrictLoader(yaml.SafeLoader):
    """PyYAML's own takes the last of two values, and says nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(names) != len(set(names)):
            raise yaml.constructor.ConstructorError(None, None, f"a name stands twice: {names}", node.start_mark)
        return super().construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, StrictLoader.construct_mapping)


def values(tree: Any, name: str) -> Iterator[Any]:
    """Every value of this name, wherever in a document it is."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == name:
                yield value
            yield from values(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, name)


@frozen
class Setting:
    """A line of a systemd unit: `name=value`, in its section."""

    section: str
    name: str
    value: str


def unit(path: Path) -> list[Setting]:
    """The lines of a unit. Raises ValueError for one that is none."""
    section, found = "", []
    for line in path.read_text("utf-8").splitlines():
        if not line.strip() or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        name, equals, value = line.partition("=")
        if not equals or not section:
            raise ValueError(f"{path.name}: {line!r} is no setting")
        found.append(Setting(section, name, value))
    return found


def environment_file(path: Path, *, with_comments: bool = False) -> dict[str, str]:
    """The variables of an EnvironmentFile, also those that are commented out if asked."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        if with_comments and line.startswith("#") and line[1:2].isupper() and "=" in line.split()[0]:
            line = line[1:]
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals or value != value.strip() or set(value) & set("\"'\\$"):
                raise ValueError(f"{path.name}: {line!r} needs more of systemd's syntax than this reads")
            found[name] = value
    return found


@frozen
class Instruction:
    """One instruction of a Dockerfile; `stage` counts its FROM lines."""

    stage: int
    name: str
    text: str

    @property
    def flags(self) -> dict[str, str]:
        """`--from=build` and the like."""
        words = [word[2:].partition("=") for word in self.text.split() if word.startswith("--")]
        return {name: value for name, _, value in words}

    @property
    def words(self) -> list[str]:
        """The rest, split as a list of JSON or by blanks."""
        text = " ".join(word for word in self.text.split(" ") if not word.startswith("--"))
        return list(json.loads(text)) if text.startswith("[") else shlex.split(text)


def dockerfile(path: Path) -> list[Instruction]:
    """The instructions of a Dockerfile."""
    found: list[Instruction] = []
    stage, held = 0, ""
    for line in path.read_text("utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue  # also between the lines of one instruction
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1]
            continue
        name, _, text = held.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, text.strip()))
        held = ""
    return found


def e2e_tool(name: str) -> str:
    """A tool in the environment of the end-to-end tests; "" if it is not installed."""
    path = ROOT / ".venv-e2e" / "bin" / name
    return str(path) if os.access(path, os.X_OK) else ""
