"""How a file is run: under which runtime, with how many threads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Setting:
    """The runtime's label, such as `ai-edge-litert 2.3.0`, and the number of inference threads."""

    runtime: str
    threads: int

    def __str__(self) -> str:
        return f"{self.runtime}, {self.threads} thread{'s' * (self.threads != 1)}"
