"""A backend whose answers the test gives."""

from __future__ import annotations

from vespa.engines.interface import EngineResponse


class Asked:
    """Answers as `answers` says by path, else with 404."""

    def __init__(self, **answers: EngineResponse) -> None:
        self.answers = {"/" + path.replace("__", "/"): answer for path, answer in answers.items()}
        self.asked: list[tuple[str, str, object]] = []

    async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
        self.asked.append((method, path, value))
        return self.answers.get(path, EngineResponse(404))

    async def pause(self, seconds: float) -> None:
        """Nothing here takes time."""
