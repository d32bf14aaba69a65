"""The model of a disk: what was synced is there after a cut, and all else may be there or not, by itself, torn and in any order."""

from __future__ import annotations

import pytest

from benchmarks.crash.disk import FILE, LINK, Disk, Node, Tree
from ota.agent.effects import Effect

OLD: Tree = {"f": Node(FILE, b"old", 1), "l": Node(LINK, b"f")}


def left(*effects: Effect, tree: Tree = OLD) -> set[tuple[tuple[str, bytes], ...]]:
    """Return names and contents of each tree that a cut after these effects may leave."""
    disk = Disk(tree)
    for effect in effects:
        disk.apply(effect)
    return {
        tuple(sorted((path, node.content) for path, node in one.items())) for one in disk.after_cut(10_000, 1)
    }


WRITTEN = (Effect("create", "t"), Effect("write", "t", data=b"new"))
CASES = {
    "nothing": ((), [{"f": b"old", "l": b"f"}]),
    "a new name, synced content": (
        (*WRITTEN, Effect("sync", "t")),
        [{"f": b"old", "l": b"f"}, {"f": b"old", "l": b"f", "t": b"new"}],
    ),
    "a synced name, content whole, absent or only its size": (
        (*WRITTEN, Effect("sync_folder", "")),
        [{"f": b"old", "l": b"f", "t": content} for content in (b"new", b"", b"\0\0\0")],
    ),
    "a rename in place of another file, all synced before": (
        (*WRITTEN, Effect("sync", "t"), Effect("sync_folder", ""), Effect("rename", "t", "f")),
        [{"f": b"old", "l": b"f", "t": b"new"}, {"f": b"new", "l": b"f"}],
    ),
    "a rename and a removal, either without the other": (
        (Effect("rename", "f", "g"), Effect("unlink", "l")),
        [{"f": b"old", "l": b"f"}, {"g": b"old", "l": b"f"}, {"f": b"old"}, {"g": b"old"}],
    ),
    "a second name of a file": (
        (Effect("link", "f", "g"),),
        [{"f": b"old", "l": b"f"}, {"f": b"old", "g": b"old", "l": b"f"}],
    ),
    "an appended part never costs what was synced": (
        (Effect("write", "f", data=b"er", offset=3),),
        [{"f": content, "l": b"f"} for content in (b"old", b"older", b"old\0\0")],
    ),
    "a folder that is lost takes what is in it along": (
        (Effect("mkdir", "d"), Effect("create", "d/x"), Effect("sync_folder", "d")),
        [{"f": b"old", "l": b"f"}, {"d": b"", "d/x": b"", "f": b"old", "l": b"f"}],
    ),
    "two syncs, of content and of name, leave one outcome": (
        (*WRITTEN, Effect("sync", "t"), Effect("rename", "t", "f"), Effect("sync_folder", "")),
        [{"f": b"new", "l": b"f"}],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_cut_leaves(case: str) -> None:
    """Exactly the listed trees may be there after a cut."""
    effects, trees = CASES[case]
    assert left(*effects) == {tuple(sorted(tree.items())) for tree in trees}


def test_a_large_write_is_torn_at_sectors_and_pages() -> None:
    """A write over several blocks may stop at a border, with nothing or zeros behind, or lose what is before it."""
    data = bytes(range(1, 251)) * 20
    contents = {
        dict(one).get("t") for one in left(Effect("create", "t"), Effect("write", "t", data=data), tree={})
    }
    for border in (512, 4096):
        head, tail = data[:border], data[border:]
        assert {head, head + bytes(len(tail)), bytes(border) + tail} <= contents
    assert {None, b"", data, bytes(len(data))} <= contents


def test_what_a_process_sees_is_all_of_it() -> None:
    """A process sees its own effects before any sync."""
    disk = Disk(OLD)
    for effect in (*WRITTEN, Effect("rename", "t", "f"), Effect("truncate", "f", offset=2)):
        disk.apply(effect)
    assert {path: node.content for path, node in disk.live().items()} == {"f": b"ne", "l": b"f"}


def test_many_choices_are_sampled_with_their_extremes() -> None:
    """Where there are more outcomes than asked for, a bounded number comes, nothing at all and everything among them."""
    disk = Disk({})
    for number in range(12):
        disk.apply(Effect("create", f"f{number}"))
        disk.apply(Effect("write", f"f{number}", data=b"x" * 600))
    trees = list(disk.after_cut(300, 1))
    assert len(trees) == 300
    assert {} in trees
    assert any(len(tree) == 12 for tree in trees)
