"""Says what `current` is on a disk and what is wrong with it: alone, without the agent; standard library only, for it also runs on an emulated machine.

Usage: judge.py ROOT prints one line of JSON, {current, wrong}.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path


def judge(root: Path) -> tuple[str | None, str]:
    """Return the release that `current` names, None where there is none, and what is wrong with it, empty where it is complete and as its manifest says."""
    link = root / "current"
    if not link.is_symlink():
        return None, "current is no link" if link.exists() else ""
    current = link.readlink().name
    try:
        return current, _wrong(link, current)
    except (OSError, ValueError, KeyError) as error:
        return current, f"{type(error).__name__}: {error}"


def _wrong(folder: Path, current: str) -> str:
    if not folder.is_dir():
        return "current leads nowhere"
    text = (folder / "manifest.json").read_bytes()
    if hashlib.sha256(text).hexdigest()[:16] != current:
        return f"the manifest, of {len(text)} bytes, is not that of the release"
    for artifact in json.loads(text)["artifacts"]:
        content = (folder / artifact["name"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != artifact["sha256"]:
            return f"{artifact['name']} has other bytes ({len(content)} of {artifact['size_bytes']})"
    return ""


if __name__ == "__main__":
    release, found = judge(Path(sys.argv[1]))
    print(json.dumps({"current": release, "wrong": found}))
