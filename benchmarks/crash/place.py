"""A folder in memory that trees are laid out in and real runs are recorded in."""
# A tree is laid out a hundred thousand times, and os.* takes a third of the time of pathlib.
# ruff: noqa: PTH102, PTH106, PTH108, PTH112, PTH114, PTH115, PTH116, PTH118, PTH211

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ota.agent import effects
from ota.agent.effects import Effect

from .disk import FILE, FOLDER, LINK, Node, Tree

MEMORY = Path("/dev/shm")
# Whether the name must be there for the effect to happen; elsewhere it must.
_NEEDS = {"create": False, "mkdir": False, "symlink": False}


class KilledError(BaseException):
    """The agent's process ends here; nothing in the agent catches it."""


class Place:
    """One root folder, laid out anew for each run."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder / "root")
        self._cut = len(self.root) + 1

    def lay(self, tree: Tree) -> None:
        """Make the root hold this tree and nothing else."""
        if os.path.isdir(self.root):
            _clear(self.root)
        else:
            os.mkdir(self.root)
        first: dict[int, str] = {}
        for name in sorted(tree):
            node, path = tree[name], f"{self.root}/{name}"
            if node.kind == FOLDER:
                os.mkdir(path)
            elif node.kind == LINK:
                os.symlink(node.content.decode(), path)
            elif node.inode in first:
                os.link(first[node.inode], path)
            else:
                first[node.inode] = path
                handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
                os.write(handle, node.content)
                os.close(handle)

    def read(self) -> Tree:
        """Return what the root holds."""
        tree: Tree = {}
        for folder, folders, names in os.walk(self.root):
            for name in [*folders, *names]:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    tree[path[self._cut :]] = Node(LINK, os.readlink(path).encode())
                elif name in folders:
                    tree[path[self._cut :]] = Node(FOLDER)
                else:
                    tree[path[self._cut :]] = Node(FILE, Path(path).read_bytes(), os.stat(path).st_ino)
        return tree

    def recorded(self, run: Callable[[str], object], kill_at: int | None = None) -> list[Effect]:
        """Run something on the root and return its effects that happened; with `kill_at`, it is killed before its effect of that number."""
        trace: list[Effect] = []

        def observe(effect: Effect) -> None:
            if len(trace) == kill_at:
                raise KilledError
            if os.path.lexists(effect.path) == _NEEDS.get(effect.name, True):
                other = effect.other if effect.name == "symlink" else effect.other[self._cut :]
                path, data = effect.path[self._cut :], bytes(effect.data)
                trace.append(Effect(effect.name, path, other, data, effect.offset))

        effects.observer = observe
        try:
            run(self.root)
        except KilledError:
            pass
        finally:
            effects.observer = None
        return trace


def _clear(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _clear(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


@contextmanager
def place() -> Iterator[Place]:
    """Give a place in memory, or in the folder for temporary files where there is none, and remove it afterwards."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    folder = Path(tempfile.mkdtemp(prefix="ota-crash-", dir=MEMORY if usable else None))
    try:
        yield Place(folder)
    finally:
        shutil.rmtree(folder)
