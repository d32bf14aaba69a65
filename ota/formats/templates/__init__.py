"""What `ota init` writes: commented files that parse."""

from __future__ import annotations

from importlib import resources

_FILES = ("inventory.yaml", "playbooks/site.yaml")


def templates() -> dict[str, str]:
    """Return the text of each file by its path in the new folder."""
    folder = resources.files(__name__)
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _FILES}
