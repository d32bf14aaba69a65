"""Releases of several artifacts, small enough for many states and large enough to be torn at every border, and what a tree says of them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache, lru_cache

from .disk import FILE, FOLDER, LINK, Tree

_RELEASE = re.compile("releases/([0-9a-f]{16})")
_BLOB = re.compile("(?:candidates|artifacts|datasets|wheels)/([0-9a-f]{64})")
_TEMPORARY = re.compile(r"(^|/)\.|\.tmp$|\.again$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A release: its id, its manifest as it travels, and its files by name."""

    id: str
    manifest: str
    files: tuple[tuple[str, bytes], ...]

    @property
    def size(self) -> int:
        """Return the bytes of all its files."""
        return len(self.manifest) + sum(len(content) for _, content in self.files)


@cache
def small(name: str, tuned_from: str = "") -> Small:
    """Return the release of that name; one file is the same in all of them. Most of its model may be that of another."""
    model = _bytes(tuned_from or name, 5000)
    files = (
        ("model.tflite", model[:4900] + _bytes(name, 100) if tuned_from else model),
        ("runtime.json", json.dumps({"release": name}).encode()),
        ("open_model.py", _bytes("shared", 700)),
        ("labels.txt", _bytes(name + " labels", 900)),
    )
    artifacts = [
        {"name": file, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for file, content in files
    ]
    manifest = json.dumps({"format": 1, "artifacts": artifacts, "model": "m"}, sort_keys=True)
    return Small(id=hashlib.sha256(manifest.encode()).hexdigest()[:16], manifest=manifest, files=files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a tree says of itself: where the links lead, what is on trial, what is whole, what happened."""

    current: str | None
    previous: str | None
    pending: str | None
    rolled_back: bool
    releases: frozenset[str]
    blobs: frozenset[str]
    journal: tuple[str, ...]


def summary(tree: Tree) -> Summary:
    """Return what a tree says of itself."""
    pending = _record(tree, "pending.json")
    names = [match for path in tree if (match := _RELEASE.fullmatch(path))]
    return Summary(
        current=_leads(tree, "current"),
        previous=_leads(tree, "previous"),
        pending=str(pending["release"]) if pending else None,
        rolled_back="rolled_back.json" in tree,
        releases=frozenset(match[1] for match in names),
        blobs=frozenset(path for path in tree if _BLOB.fullmatch(path)),
        journal=_journal(tree["journal.jsonl"].content) if "journal.jsonl" in tree else (),
    )


def faults(tree: Tree, most_bytes: int) -> list[str]:
    """Return what must never be in a tree after recovery, whatever happened before."""
    found = [f"a temporary was left: {path}" for path in tree if _TEMPORARY.search(path)]
    for path, node in tree.items():
        blob, release = _BLOB.fullmatch(path), _RELEASE.fullmatch(path)
        if blob and (node.kind != FILE or _digest(node.content) != blob[1]):
            found.append(f"a blob is not what its name says: {path}")
        if release and not _whole(tree, release[1]):
            found.append(f"a release is not whole: {path}")
    for name in ("current", "previous"):
        target = _leads(tree, name)
        if target is not None and f"releases/{target}" not in tree:
            found.append(f"{name} leads nowhere")
    pending = _record(tree, "pending.json")
    if "pending.json" in tree and not (pending and f"releases/{pending.get('release')}" in tree):
        found.append("pending.json is torn or names what is not there")
    used = sum({node.inode: len(node.content) for node in tree.values() if node.kind == FILE}.values())
    if used > most_bytes:
        found.append(f"{used} bytes are used, more than {most_bytes}")
    return found


def _whole(tree: Tree, release: str) -> bool:
    node = tree.get(f"releases/{release}/manifest.json")
    if node is None or node.kind != FILE or _digest(node.content)[:16] != release:
        return False
    for artifact in json.loads(node.content)["artifacts"]:
        file = tree.get(f"releases/{release}/{artifact['name']}")
        if file is None or file.kind != FILE or _digest(file.content) != artifact["sha256"]:
            return False
    return tree[f"releases/{release}"].kind == FOLDER


def _leads(tree: Tree, name: str) -> str | None:
    node = tree.get(name)
    return node.content.decode().rsplit("/", 1)[-1] if node is not None and node.kind == LINK else None


def _record(tree: Tree, name: str) -> dict[str, object]:
    node = tree.get(name)
    return _parsed(node.content) if node is not None else {}


@lru_cache(maxsize=1 << 12)
def _parsed(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=1 << 12)
def _journal(content: bytes) -> tuple[str, ...]:
    lines = [_parsed(line) for line in content.split(b"\n")]
    return tuple(f"{line['action']} {line['release']}" for line in lines if line)


@lru_cache(maxsize=1 << 12)
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _bytes(name: str, count: int) -> bytes:
    block = hashlib.sha256(name.encode()).digest()
    return (block * (count // len(block) + 1))[:count]
