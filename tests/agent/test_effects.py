"""Every effect of the agent on files passes `effects.py`: held by walking its source, and by comparing what is recorded with what is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ota.agent import effects, files

AGENT = Path(effects.__file__).parent
CHANGING = {
    *("rename", "renames", "replace", "link", "symlink", "unlink", "remove", "mkdir", "makedirs", "rmdir", "removedirs"),
    *("fsync", "fdatasync", "truncate", "ftruncate", "write", "pwrite", "writev", "chmod", "chown", "fchmod", "fchown", "utime", "mknod", "mkfifo"),
    *("open", "sendfile", "copy_file_range"),
}  # fmt: skip
# What is no part of the release store, with the reason.
EXCEPTED = {
    ("bench.py", "open"): "the benchmark process's answer, in a temporary folder; /proc/self/clear_refs",
    ("boot.py", "os.write"): "a pipe",
    ("commands.py", "tempfile.TemporaryFile"): "a command's output, in a file without a name",
    ("isolate.py", "os.open"): "what a benchmark child said, in a temporary folder",
    ("isolate.py", "os.write"): "a pipe",
    ("isolate.py", "open"): "/proc/self/oom_score_adj",
    ("machine.py", "os.open"): "the machine's lock, never written",
    ("machine.py", "os.fchmod"): "the machine's lock, which every user's agent takes",
    ("measure.py", "shutil.rmtree"): "the benchmark processes' temporary folder",
    ("measure.py", "tempfile.mkdtemp"): "the benchmark processes' temporary folder",
    ("samples.py", "os.ftruncate"): "memory that benchmark processes share",
    ("server.py", "open"): "what a benchmark process said, in a temporary folder",
    ("trust.py", "open"): "what ssh-keygen reads, in a temporary folder",
    ("trust.py", "tempfile.TemporaryDirectory"): "what ssh-keygen reads, in a temporary folder",
    ("watchdog.py", "os.open"): "/dev/null, in place of the dialogue's pipes",
}
MODULES = sorted(path for path in AGENT.glob("*.py") if path.name != "effects.py")


def _changes(path: Path) -> list[tuple[int, str]]:
    """Return line and name of each call in a module that may change a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        room, _, verb = name.rpartition(".")
        opens = name in {"open", "io.open"} and _mode(node) is not None
        effect = room == "os" and verb in CHANGING
        library = room in {"shutil", "tempfile"} and verb != "which"
        method = verb in {"write_text", "write_bytes", "touch", "rmtree"} and room != "shutil"
        if opens or effect or library or method:
            found.append((node.lineno, name))
    return found


def _mode(node: ast.Call) -> str | None:
    """Return the mode of an `open` that may write, or that cannot be read off the source."""
    modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
    if not modes:
        return None
    if not isinstance(modes[0], ast.Constant):
        return "?"
    mode = str(modes[0].value)
    return mode if set(mode) & set("wax+") else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_other_module_changes_files(path: Path) -> None:
    """Outside `effects.py` nothing opens a file for writing or renames, links, removes or syncs one, but for the named exceptions."""
    for line, name in _changes(path):
        assert (path.name, name) in EXCEPTED, f"{path.name}:{line}: calls {name}, which is for effects.py"


def test_every_exception_is_used() -> None:
    """An exception that nothing needs any more goes."""
    used = {(path.name, name) for path in MODULES for _, name in _changes(path)}
    assert used == set(EXCEPTED)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("open(path)", []),
        ("open(path, 'rb')", []),
        ("open(path, 'wb')", ["open"]),
        ("open(path, mode='r+')", ["open"]),
        ("open(path, mode)", ["open"]),
        ("os.replace(a, b)", ["os.replace"]),
        ("shutil.copyfile(a, b)", ["shutil.copyfile"]),
        ("path.write_text('x')", ["path.write_text"]),
    ],
)
def test_the_walk_sees(text: str, calls: list[str], tmp_path: Path) -> None:
    """The walk finds each way to change a file, and lets reading be."""
    module = tmp_path / "module.py"
    module.write_text(text)
    assert [name for _, name in _changes(module)] == calls


def test_each_effect_is_told_before_it_happens(tmp_path: Path) -> None:
    """A new file is created under a temporary name, written, synced and renamed, and its folder synced, in this order."""
    told: list[tuple[str, str]] = []
    effects.observer = lambda effect: told.append((effect.name, Path(effect.path).name))
    try:
        files.write_file(str(tmp_path / "it"), b"content")
    finally:
        effects.observer = None
    steps = ["unlink", "create", "write", "sync", "rename"]
    assert told == [*((step, "it.tmp") for step in steps), ("sync_folder", tmp_path.name)]
    assert (tmp_path / "it").read_bytes() == b"content"


def test_what_an_observer_refuses_does_not_happen(tmp_path: Path) -> None:
    """A disk that is full at the sync leaves the old content, and no temporary."""
    path = tmp_path / "it"
    path.write_bytes(b"old")

    def full(effect: effects.Effect) -> None:
        if effect.name == "sync":
            raise OSError(28, "No space left on device")

    effects.observer = full
    try:
        with pytest.raises(OSError, match="No space"):
            files.write_file(str(path), b"new")
    finally:
        effects.observer = None
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("it", b"old")]


def test_settling_removes_what_was_left(tmp_path: Path) -> None:
    """Temporary files and links and hidden folders go, however deep and however often a removal was cut; the rest stays."""
    for name in ("kept", "kept.partial", "a.tmp", "b.again"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c.tmp").symlink_to("kept")
    for folder in (".0123.tmp/deep", ".gone-4567/deep", "whole/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_bytes(b"x")
    files.settle(str(tmp_path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["kept", "kept.partial", "whole"]


def test_a_torn_line_is_closed_before_the_next(tmp_path: Path) -> None:
    """What a cut left of a line becomes a line of its own, and the next one stands whole."""
    path = tmp_path / "journal"
    path.write_bytes(b"one\ntw")
    files.append_line(str(path), "three")
    assert path.read_bytes() == b"one\ntw\nthree\n"


def test_a_file_that_cannot_be_read_is_not_taken_for_one_that_is_not_there(tmp_path: Path) -> None:
    """What is not there reads as None; what is there and unreadable is an error, or a trial would be taken for none."""
    (tmp_path / "it").write_text("text")
    assert files.read_kept(str(tmp_path / "it")) == "text"
    assert files.read_kept(str(tmp_path / "other")) is None
    with pytest.raises(IsADirectoryError):
        files.read_kept(str(tmp_path))
