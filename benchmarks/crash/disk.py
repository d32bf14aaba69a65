"""What a disk may hold after a power cut: the model, pure.

What was synced is there. Of all since, anything may be there or not: each write by itself, whole or torn at a sector or page, with zeros where the rest
would be; each new, moved or removed name by itself and in any order, a folder's names apart from its files' content. Assumed: one rename and one symbolic
link are atomic, and a sync that has returned is true. Not assumed: an ordered journal, that a file's sync keeps its name, that a rename keeps what it names.
After "All File Systems Are Not Created Equal" (Pillai and others, OSDI 2014), whose weakest file system this is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import combinations, permutations, product

from ota.agent.effects import Effect

TEARS = (512, 1024, 2048, 4096, 8192)
MOST_OPS = 4
LINK, FILE, FOLDER = "link", "file", "folder"


@dataclass(frozen=True, slots=True)
class Node:
    """One name in a tree; two names of one file have the same `inode`. A link's content is what it leads to."""

    kind: str
    content: bytes = b""
    inode: int = 0


Tree = dict[str, Node]
"""All below a root by relative path; the root itself is not named."""


@dataclass(slots=True)
class _File:
    kind: str
    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def live(self) -> bytes:
        return _written(self.synced, tuple(self.pending))


_Change = tuple[tuple[str, int | None], ...]


@dataclass(slots=True)
class _Folder:
    synced: dict[str, int] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)

    def change(self, *names: tuple[str, int | None]) -> None:
        self.pending.append(names)
        _change(self.live, names)

    def sync(self) -> None:
        self.synced, self.pending = dict(self.live), []


class Disk:
    """A root folder that effects are applied to; `live` is what a process sees, `after_cut` what a cut may leave."""

    def __init__(self, tree: Tree) -> None:
        """Begin with a tree that is all durable."""
        self._folders: dict[int, _Folder] = {0: _Folder()}
        self._files: dict[int, _File] = {}
        self._next = 1
        known: dict[int, int] = {}
        for path, node in sorted(tree.items()):
            folder, name = self._place(path)
            inode = known.get(node.inode) if node.kind == FILE else None
            if inode is None:
                inode = self._new(node.kind, node.content)
                known[node.inode] = inode
            folder.change((name, inode))
            folder.sync()

    def apply(self, effect: Effect) -> None:
        """Carry an effect out that has happened; its paths are relative to the root."""
        getattr(self, f"_{effect.name}")(effect)

    def live(self) -> Tree:
        """Return what a process sees now."""
        contents = {inode: file.live() for inode, file in self._files.items()}
        return self._tree({inode: folder.live for inode, folder in self._folders.items()}, contents)

    def after_cut(self, limit: int, seed: int) -> Iterator[Tree]:
        """Yield what a cut now may leave: all of it where that is no more than `limit` trees, else a seeded sample with all extremes."""
        within = self._reachable()
        folders = {
            key: _entries(self._folders[key], seed)
            for key in within
            if key in self._folders and self._folders[key].pending
        }
        files = {
            key: _contents(self._files[key])
            for key in within
            if key in self._files and self._files[key].pending
        }
        names = {key: value.synced for key, value in self._folders.items()}
        contents = {key: value.synced for key, value in self._files.items()}
        sizes = [*map(len, folders.values()), *map(len, files.values())]
        for chosen in _chosen(sizes, limit, seed):
            for (key, entries), index in zip(folders.items(), chosen, strict=False):
                names[key] = entries[index]
            for (file, outcomes), index in zip(files.items(), chosen[len(folders) :], strict=True):
                contents[file] = outcomes[index]
            yield self._tree(names, contents)

    def _reachable(self) -> list[int]:
        """Return what may have a name after a cut."""
        found, waiting = {0}, [0]
        while waiting:
            folder = self._folders.get(waiting.pop())
            if folder is not None:
                named = {inode for change in folder.pending for _, inode in change if inode is not None}
                new = (named | set(folder.synced.values())) - found
                found |= new
                waiting += new
        return sorted(found)

    def _tree(self, names: dict[int, dict[str, int]], contents: dict[int, bytes]) -> Tree:
        tree: Tree = {}
        waiting = [("", 0)]
        while waiting:
            above, key = waiting.pop()
            for name, inode in names[key].items():
                if inode in names:
                    tree[above + name] = Node(FOLDER)
                    waiting.append((f"{above}{name}/", inode))
                else:
                    tree[above + name] = Node(self._files[inode].kind, contents[inode], inode)
        return tree

    def _new(self, kind: str, content: bytes = b"") -> int:
        inode, self._next = self._next, self._next + 1
        if kind == FOLDER:
            self._folders[inode] = _Folder()
        else:
            self._files[inode] = _File(kind, content)
        return inode

    def _place(self, path: str) -> tuple[_Folder, str]:
        *above, name = path.split("/")
        folder = self._folders[0]
        for part in above:
            folder = self._folders[folder.live[part]]
        return folder, name

    def _inode(self, path: str) -> int:
        if not path:
            return 0
        folder, name = self._place(path)
        return folder.live[name]

    def _create(self, effect: Effect) -> None:
        folder, name = self._place(effect.path)
        folder.change((name, self._new(FILE)))

    def _mkdir(self, effect: Effect) -> None:
        folder, name = self._place(effect.path)
        folder.change((name, self._new(FOLDER)))

    def _symlink(self, effect: Effect) -> None:
        folder, name = self._place(effect.path)
        folder.change((name, self._new(LINK, effect.other.encode())))

    def _link(self, effect: Effect) -> None:
        folder, name = self._place(effect.other)
        folder.change((name, self._inode(effect.path)))

    def _unlink(self, effect: Effect) -> None:
        folder, name = self._place(effect.path)
        folder.change((name, None))

    _rmdir = _unlink

    def _rename(self, effect: Effect) -> None:
        (folder, old), (other, new) = self._place(effect.path), self._place(effect.other)
        if folder is not other:
            raise ValueError(f"a rename between two folders: {effect.path} to {effect.other}")
        folder.change((old, None), (new, folder.live[old]))

    def _write(self, effect: Effect) -> None:
        self._files[self._inode(effect.path)].pending.append((effect.offset, effect.data))

    def _truncate(self, effect: Effect) -> None:
        self._files[self._inode(effect.path)].pending.append((effect.offset, None))

    def _sync(self, effect: Effect) -> None:
        file = self._files[self._inode(effect.path)]
        file.synced, file.pending = file.live(), []

    def _sync_folder(self, effect: Effect) -> None:
        self._folders[self._inode(effect.path)].sync()


def _change(names: dict[str, int], change: _Change) -> None:
    for name, inode in change:
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _entries(folder: _Folder, seed: int) -> list[dict[str, int]]:
    """Return each distinct outcome of unsynced names: any of the changes, in any order; many of them are sampled."""
    count = len(folder.pending)
    orders: Iterator[tuple[int, ...]] | list[tuple[int, ...]]
    if count <= MOST_OPS:
        orders = (order for size in range(count + 1) for order in permutations(range(count), size))
    else:
        orders = _some_orders(count, seed)
    found: dict[frozenset[tuple[str, int]], dict[str, int]] = {}
    for order in orders:
        names = dict(folder.synced)
        for index in order:
            _change(names, folder.pending[index])
        found.setdefault(frozenset(names.items()), names)
    return list(found.values())


@cache
def _some_orders(count: int, seed: int) -> list[tuple[int, ...]]:
    everything = tuple(range(count))
    orders = [everything[:size] for size in range(count + 1)] + [everything[size:] for size in range(count)]
    orders += [(index,) for index in everything]
    orders += [everything[:index] + everything[index + 1 :] for index in everything]
    random_order = random.Random(seed)
    for _ in range(8 * count):
        chosen = random_order.sample(everything, random_order.randint(1, count))
        orders += [tuple(chosen), tuple(sorted(chosen))]
    return orders


def _contents(file: _File) -> list[bytes]:
    """Return each distinct outcome of unsynced writes: any of them, one of them torn."""
    pending = file.pending
    count = len(pending)
    if count <= MOST_OPS:
        subsets = [chosen for size in range(count + 1) for chosen in combinations(range(count), size)]
    else:
        whole = tuple(range(count))
        subsets = [whole[:size] for size in range(count + 1)] + [
            whole[:index] + whole[index + 1 :] for index in whole
        ]
    found: dict[bytes, None] = {}
    for chosen in subsets:
        operations = tuple(pending[index] for index in chosen)
        found.setdefault(_written(file.synced, operations))
        for at, (offset, data) in enumerate(operations):
            for part in _torn(offset, data) if data is not None else ():
                found.setdefault(_written(file.synced, (*operations[:at], *part, *operations[at + 1 :])))
    return list(found)


def _torn(offset: int, data: bytes) -> list[tuple[tuple[int, bytes], ...]]:
    """Return the ways a write may be torn: only its size, or one side of a border between blocks, with zeros or nothing for the other."""
    ways: list[tuple[tuple[int, bytes], ...]] = [((offset, bytes(len(data))),)]
    end = offset + len(data)
    for block in TEARS:
        at = (offset // block + 1) * block
        if at < end:
            head, tail = data[: at - offset], data[at - offset :]
            ways += [
                ((offset, head),),
                ((offset, head + bytes(len(tail))),),
                ((offset, bytes(len(head)) + tail),),
            ]
    return ways


@lru_cache(maxsize=1 << 14)
def _written(content: bytes, operations: tuple[tuple[int, bytes | None], ...]) -> bytes:
    for offset, data in operations:
        if data is None:
            content = content[:offset].ljust(offset, b"\0")
        else:
            content = content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]
    return content


def _chosen(sizes: list[int], limit: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Yield one index for each list of these sizes: every combination where the limit allows, else a sample."""
    total = 1
    for size in sizes:
        total *= size
    if total <= limit:
        yield from product(*(range(size) for size in sizes))
        return
    drawn = random.Random(seed)
    seen = {(0,) * len(sizes), tuple(size - 1 for size in sizes)}
    for at, size in enumerate(sizes):
        seen |= {tuple(index if at == other else 0 for other in range(len(sizes))) for index in range(size)}
    while len(seen) < limit:
        seen.add(tuple(drawn.randrange(size) for size in sizes))
    yield from sorted(seen)
