"""Where Vast.ai's services are."""

from __future__ import annotations

from typing import Final

AUTOSCALERS: Final[dict[str, str]] = {
    "prod": "https://run.vast.ai",
    "alpha": "https://run-alpha.vast.ai",
    "candidate": "https://run-candidate.vast.ai",
    "local": "http://localhost:8080",
}
"""By instance, as Vast calls its deployments."""
CONSOLE: Final = "https://console.vast.ai"
