"""The controller's hand on a device: the real agent over the local transport, and devices that answer wrongly or die."""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ota.core.connection import Connection
from ota.core.facts import Runtime
from ota.core.inventory import Host
from ota.core.protocol import MAX_LINE, PROTOCOL_VERSION, BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.errors import HostError
from ota.remote import local
from ota.remote.bench_replies import TurnReply, TurnRequest
from ota.remote.bootstrap import MARK, agent_zip
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError

HOST = Host(name="here")
RUNTIME = Runtime(id="r", package="p", version="1", python="/p")
OpenDevice = Callable[..., Device]


def open_device(root: Path, python: str = sys.executable, *, keep_agent: bool = True) -> Device:
    """Open a device whose root is `root`, under `python`."""
    transport = local.connect(HOST, Connection(kind="local", address="x"))
    return Device.open(HOST, transport, model="m", root=str(root), python=python, keep_agent=keep_agent)


def blob(folder: Path, content: bytes) -> tuple[Digest, Path]:
    """Write a blob on the controller."""
    path = folder / Digest.of(content).hex
    path.write_bytes(content)
    return Digest.of(content), path


def release(content: bytes, name: str = MODEL_ARTIFACT) -> Release:
    """Return a release of one file."""
    artifact = Artifact(name=name, digest=Digest.of(content), size_bytes=len(content))
    return Release(manifest=Manifest(model="m", artifacts=(artifact,)))


def script(path: Path, text: str) -> str:
    """Write an executable that stands for the device's Python."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_file_is_sent_once(tmp_path: Path) -> None:
    """What a device holds costs no bytes the second time; a timed transfer sends it again and leaves one copy."""
    digest, path = blob(tmp_path, os.urandom(300_000))
    with open_device(tmp_path / "root") as device:
        assert device.put(BlobKind.CANDIDATE, digest, path).bytes_sent == 300_000
        assert device.put(BlobKind.CANDIDATE, digest, path).bytes_sent == 0
        timed = device.put(BlobKind.CANDIDATE, digest, path, timed=True)
        assert (timed.bytes_sent, timed.seconds > 0) == (300_000, True)
        assert device.held([(BlobKind.CANDIDATE, digest), (BlobKind.CANDIDATE, Digest.of(b""))]) == {digest}
    assert [p.name for p in (tmp_path / "root" / "candidates").iterdir()] == [digest.hex]


@pytest.mark.parametrize("part", [0, 1, 100_000, 299_999, 300_000])
def test_a_cut_transfer_goes_on_where_it_ended(part: int, tmp_path: Path) -> None:
    """Of a partial file only the rest is sent, and the whole has the right digest."""
    content = os.urandom(300_000)
    digest, path = blob(tmp_path, content)
    folder = tmp_path / "root" / "candidates"
    folder.mkdir(parents=True)
    (folder / f"{digest.hex}.partial").write_bytes(content[:part])
    with open_device(tmp_path / "root") as device:
        assert device.put(BlobKind.CANDIDATE, digest, path).bytes_sent == 300_000 - part
    assert (folder / digest.hex).read_bytes() == content


def test_a_wrong_partial_file_is_dropped_and_never_becomes_the_file(tmp_path: Path) -> None:
    """A partial file of other bytes fails the digest, is removed, and the same transfer sends everything."""
    content = os.urandom(1000)
    digest, path = blob(tmp_path, content)
    folder = tmp_path / "root" / "candidates"
    folder.mkdir(parents=True)
    (folder / f"{digest.hex}.partial").write_bytes(b"y" * 500)
    with open_device(tmp_path / "root") as device:
        assert device.put(BlobKind.CANDIDATE, digest, path).bytes_sent == 1000
    assert [(entry.name, entry.read_bytes()) for entry in folder.iterdir()] == [(digest.hex, content)]


def test_bytes_that_are_not_the_digests_are_refused(tmp_path: Path) -> None:
    """A file whose bytes are not those of its digest is never kept."""
    _, path = blob(tmp_path, b"one thing")
    with open_device(tmp_path / "root") as device, pytest.raises(RefusedError, match="another SHA-256"):
        device.put(BlobKind.CANDIDATE, Digest.of(b"another"), path)
    assert list((tmp_path / "root" / "candidates").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_too_full_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    """A file that does not fit is refused with the missing bytes, and nothing of it is on the disk."""
    root = tmp_path / "small"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(root)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        digest, path = blob(tmp_path, os.urandom(3_000_000))
        with open_device(root) as device, pytest.raises(RefusedError) as caught:
            device.put(BlobKind.CANDIDATE, digest, path)
        assert caught.value.code == "no_space"
        assert "bytes are missing on the disk of" in caught.value.problem
        assert list((root / "candidates").iterdir()) == []
    finally:
        subprocess.run(["umount", str(root)], check=True)


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    """One dialogue at a time changes a device; reading stays possible."""
    digest, path = blob(tmp_path, b"abc")
    with open_device(tmp_path / "root") as first, open_device(tmp_path / "root") as second:
        first.put(BlobKind.CANDIDATE, digest, path)
        assert second.slot().current is None
        with pytest.raises(
            RefusedError, match=r"another ota is at work on this device: process \d+ on .* since"
        ):
            second.put(BlobKind.CANDIDATE, digest, path)


STAGE_FAULTS = {
    "a file that is not there": (release(b"never sent"), "model.tflite is not on the device"),
    "a name that leads elsewhere": (release(b"abc", "../evil"), "not a name for an artifact: '../evil'"),
    "the manifest's own name": (release(b"abc", "manifest.json"), "not a name for an artifact"),
}


@pytest.mark.parametrize(("wrong", "words"), STAGE_FAULTS.values(), ids=STAGE_FAULTS.keys())
def test_a_release_that_cannot_be_built_is_refused(wrong: Release, words: str, tmp_path: Path) -> None:
    """Staging refuses what it cannot verify or place, and leaves no release."""
    digest, path = blob(tmp_path, b"abc")
    with open_device(tmp_path / "root") as device:
        device.put(BlobKind.CANDIDATE, digest, path)
        with pytest.raises(RefusedError) as caught:
            device.stage(wrong)
        assert words in caught.value.problem
        assert device.slot().releases == ()


def test_a_damaged_file_on_the_device_is_never_staged(tmp_path: Path) -> None:
    """A stored file that rotted is found by its digest and removed, so that the next run sends it again."""
    digest, path = blob(tmp_path, b"abcdef")
    with open_device(tmp_path / "root") as device:
        device.put(BlobKind.CANDIDATE, digest, path)
        (tmp_path / "root" / "candidates" / digest.hex).write_bytes(b"abcdeX")
        with pytest.raises(RefusedError, match="was damaged on the device's disk and removed"):
            device.stage(release(b"abcdef"))
        assert device.put(BlobKind.CANDIDATE, digest, path).bytes_sent == 6
        assert device.stage(release(b"abcdef"))


def test_check_mode_leaves_no_file_on_the_device(tmp_path: Path) -> None:
    """Without keep_agent a device that has no agent stays without one."""
    with open_device(tmp_path / "root", keep_agent=False) as device:
        assert device.facts().cpu_count >= 1
        assert device.slot().current is None
    assert not (tmp_path / "root").exists()


def test_the_agent_is_sent_once_and_again_when_it_was_damaged(tmp_path: Path) -> None:
    """The agent lies on the device under its digest; one that is not those bytes is replaced before anything runs."""
    for _ in range(2):
        with open_device(tmp_path / "root") as device:
            device.slot()
        (agent,) = (tmp_path / "root" / "agent").glob("*.pyz")
        assert agent.name == f"{Digest.of(agent_zip()).hex}.pyz"
        assert agent.read_bytes() == agent_zip()
        agent.write_bytes(b"print('evil')")
    with open_device(tmp_path / "root") as device:
        device.slot()
        assert agent.read_bytes() == agent_zip()


def compiled(root: Path) -> Path:
    """Return what the agent compiled and keeps."""
    (kept,) = (path for path in (root / "agent").iterdir() if path.suffix != ".pyz")
    return kept


def test_what_was_compiled_is_kept_and_used(tmp_path: Path) -> None:
    """It grows with what is asked, is not written again, and is used: the next dialogue runs what lies there; check mode leaves none."""
    root = tmp_path / "root"
    with open_device(root, keep_agent=False) as device:
        device.slot()
    assert not root.exists()
    with open_device(root) as device:
        device.slot()
        small = compiled(root).read_bytes()
        device.facts()
        large = compiled(root).read_bytes()
    assert len(large) > len(small)
    codes = marshal.loads(large[32:])
    assert {"agent.main", "agent.slot", "agent.facts"} <= set(codes)
    assert "agent.bench" not in codes
    codes["agent.facts"] = marshal.dumps(compile("def facts(root): return {'boot_id': 7}", "other", "exec"))
    content = marshal.dumps(codes)
    compiled(root).write_bytes(hashlib.sha256(content).digest() + content)
    written = compiled(root).stat().st_mtime_ns
    with open_device(root) as device, pytest.raises(HostError, match="a wrong 'python'"):
        device.facts()
    assert compiled(root).stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["a bit", "half of it", "all of it", "another thing"])
def test_a_damaged_compilation_is_made_anew(damage: str, tmp_path: Path) -> None:
    """A power cut may leave anything there: the agent itself decides."""
    root = tmp_path / "root"
    with open_device(root) as device:
        device.slot()
    whole = compiled(root).read_bytes()
    bad = {"a bit": whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:], "half of it": whole[: len(whole) // 2]}
    compiled(root).write_bytes({**bad, "all of it": b"", "another thing": b"x" * 5000}[damage])
    with open_device(root) as device:
        assert device.slot().current is None
    assert compiled(root).read_bytes() == whole


def test_what_a_login_shell_prints_is_skipped(tmp_path: Path) -> None:
    """A message of the day before the agent speaks does no harm."""
    python = script(
        tmp_path / "python", f'echo "Welcome to your board"; echo "{{}}"; exec {sys.executable} "$@"'
    )
    with open_device(tmp_path / "root", python) as device:
        assert device.slot().current is None


NO_AGENT = {
    "no such Python": ("/no/such/python", "there is no /no/such/python on the device"),
    "a shell that prints without end": ("yes noise", "the login shell prints without end"),
    "a Python that dies": (
        "echo 'bad interpreter' >&2; exit 3",
        "the agent does not start: found bad interpreter",
    ),
    "a Python that is too old": (
        f"printf '\\n{MARK.decode()} old 3.5\\n'; cat",
        "the device's Python is too old: expected 3.7 or later, found 3.5",
    ),
    "an agent of another version": (
        f'printf \'\\n{MARK.decode()} have\\n{{"event": 1, "hello": {PROTOCOL_VERSION + 1}}}\\n\'; cat',
        "what answers is no agent of this version",
    ),
}


@pytest.mark.parametrize(("device", "words"), NO_AGENT.values(), ids=NO_AGENT.keys())
def test_a_device_on_which_the_agent_cannot_run_is_told_apart(
    device: str, words: str, tmp_path: Path
) -> None:
    """Why there is no agent is one clear message with the host's name."""
    python = device if device.startswith("/") else script(tmp_path / "python", device)
    with open_device(tmp_path / "root", python) as there, pytest.raises(HostError) as caught:
        there.slot()
    assert words in caught.value.render()
    assert caught.value.where == "here"


def answering(tmp_path: Path, answer: bytes) -> str:
    """Return a Python that greets as the agent does and gives one answer to whatever is asked."""
    (tmp_path / "answer").write_bytes(answer)
    hello = json.dumps({"event": "hello", "hello": PROTOCOL_VERSION, "root": "/r"})
    return script(
        tmp_path / "python",
        f"printf '\\n{MARK.decode()} have\\n'; echo '{hello}'; read -r question; cat {tmp_path}/answer; sleep 0.2",
    )


FACTS = {"ok": True, "boot_id": "b"}
WRONG = {
    "not JSON": (b"hello?\n", "the device answers what is no answer"),
    "a list": (b"[1]\n", "the device answers what is no answer"),
    "neither ok nor error": (b'{"fine": true}\n', "the device answers what is no answer"),
    "half a line and gone": (b'{"ok": tr', "ended"),
    "a line without end": (b"x" * (MAX_LINE + 10), "line"),
    "a missing field": (json.dumps(FACTS).encode() + b"\n", "the device answers a wrong 'python'"),
    "a field of another type": (
        json.dumps({**FACTS, "python": "3.11"}).encode() + b"\n",
        "the device answers a wrong 'python'",
    ),
    "a negative number": (
        json.dumps({**FACTS, "python": [3, -1, 0]}).encode() + b"\n",
        "whole numbers from 0",
    ),
    "a body beyond all bounds": (
        b'{"ok": true, "body": 99999999999999}\n',
        "the device answers a wrong 'body'",
    ),
    "less body than announced": (b'{"ok": true, "body": 100}\nshort', "ended"),
}


@pytest.mark.parametrize(("answer", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_a_device_answers_is_not_trusted(answer: bytes, words: str, tmp_path: Path) -> None:
    """An answer that is none is a HostError with the host's name, never a crash and never an endless wait."""
    with (
        open_device(tmp_path / "root", answering(tmp_path, answer)) as device,
        pytest.raises(HostError) as caught,
    ):
        device.facts()
    assert words in caught.value.render()
    assert caught.value.where == "here"


CALM = {"throttled": 0, "clock_khz": [1], "governor": "", "temperature_c": 1.5, "load_1m": 0, "boot_id": "b"}
WATCH = {"before": CALM, "after": CALM, "seconds": 1.0, "busy_other": 0.0, "stolen": 0.0}


def bench_answer(body: bytes, *, watch: object = WATCH, **record: object) -> bytes:
    """Return an answer to a block of one turn: two inferences of 5 ns each, then `body`."""
    turn = {"load_ns": 1, "cold_ns": 1, "warmup": 0, "inferences": 2, "output_shape": [2, 1], **record}
    whole = struct.pack("<2q", 5, 5) + body
    fields = {"ok": True, "turns": [turn], "watch": watch, "body": len(whole)}
    return json.dumps(fields).encode() + b"\n" + whole


def watched(**changes: object) -> bytes:
    """Return an answer that is right but for these of its conditions after the block."""
    return bench_answer(b"\0" * 8, watch={**WATCH, "after": {**CALM, **changes}})


WRONG_BENCH = {
    "fewer inferences than outputs": (bench_answer(b"\0" * 8, inferences=1), "another number of samples"),
    "no inferences": (bench_answer(b"", inferences=0, output_shape=[0, 1]), "another number of samples"),
    "outputs of another size": (bench_answer(b"\0" * 4), "too few outputs"),
    "a gigabyte announced": (bench_answer(b"\0" * 8, output_shape=[2, 1 << 23, 16]), "too few outputs"),
    "more outputs than announced": (bench_answer(b"\0" * 12), "outputs of another size"),
    "a negative latency": (
        bench_answer(struct.pack("<q", -5), inferences=3, output_shape=[0]),
        "a negative latency",
    ),
    "for no candidate": (b'{"ok": true, "turns": []}\n', "answers for other candidates"),
    "a shape that is none": (bench_answer(b"\0" * 8, output_shape="big"), "a wrong 'output_shape'"),
    "a load that took less than nothing": (bench_answer(b"\0" * 8, load_ns=-1), "a wrong 'load_ns'"),
    "no watch": (bench_answer(b"\0" * 8, watch=None), "a wrong 'watch'"),
    "a share above one": (
        bench_answer(b"\0" * 8, watch={**WATCH, "busy_other": 1.5}),
        "a wrong 'busy_other'",
    ),
    "a temperature that is no number": (watched(temperature_c=float("nan")), "a wrong 'temperature_c'"),
    "a word of 33 bits": (watched(throttled=1 << 32), "a wrong 'throttled'"),
    "clocks without end": (watched(clock_khz=[1] * 5000), "a wrong 'clock_khz'"),
    "a long name": (watched(governor="x" * 200), "a wrong 'governor'"),
    "memory below nothing": (watched(memory_available_bytes=-1), "a wrong 'memory_available_bytes'"),
}


@pytest.mark.parametrize(("answer", "words"), WRONG_BENCH.values(), ids=WRONG_BENCH.keys())
def test_measurements_are_not_trusted(answer: bytes, words: str, tmp_path: Path) -> None:
    """Measurements that do not fit together are a HostError in words."""
    turn = TurnRequest(digest=Digest.of(b""), runtime=RUNTIME, threads=1)
    with (
        open_device(tmp_path / "root", answering(tmp_path, answer)) as device,
        pytest.raises(HostError, match=words) as caught,
    ):
        device.bench(Digest.of(b""), [turn], warmup=0, warmup_s=0.0)
    assert caught.value.where == "here"


def test_a_block_that_is_right_is_taken(tmp_path: Path) -> None:
    """What the table above breaks in one place each is a reply where nothing is broken."""
    turn = TurnRequest(digest=Digest.of(b""), runtime=RUNTIME, threads=1)
    answer = bench_answer(struct.pack("<2f", 1, 2))
    with open_device(tmp_path / "root", answering(tmp_path, answer)) as device:
        reply = device.bench(Digest.of(b""), [turn], warmup=0, warmup_s=0.0)
    (measured,) = reply.turns
    assert isinstance(measured, TurnReply)
    assert (measured.latencies_ns, measured.output_shape) == ((5, 5), (2, 1))
    assert measured.outputs == struct.pack("<2f", 1, 2)
    assert reply.watch.after.temperature_c == 1.5


def examined_answer(**record: object) -> bytes:
    """Return an answer to an examination of one network."""
    whole = {
        "peak_memory_bytes": 1, "pss_bytes": 1, "nodes": ["ADD", "MUL"], "delegated": [1], "partitions": 1, **record,
    }  # fmt: skip
    return json.dumps({"ok": True, "pairs": [whole]}).encode() + b"\n"


WRONG_EXAMINATION = {
    "an operator beyond the last": (examined_answer(delegated=[2]), "a wrong 'delegated'"),
    "an operator taken twice": (examined_answer(delegated=[1, 1]), "wrong 'delegated'"),
    "a name that is no text": (examined_answer(nodes=["ADD", 7]), "wrong 'nodes'"),
    "less memory than none": (examined_answer(peak_memory_bytes=-1), "a wrong 'peak_memory_bytes'"),
    "parts without operators": (examined_answer(nodes=[], delegated=[0]), "wrong 'delegated'"),
}


@pytest.mark.parametrize(("answer", "words"), WRONG_EXAMINATION.values(), ids=WRONG_EXAMINATION.keys())
def test_examinations_are_not_trusted(answer: bytes, words: str, tmp_path: Path) -> None:
    """An examination that cannot be is a HostError in words."""
    with (
        open_device(tmp_path / "root", answering(tmp_path, answer)) as device,
        pytest.raises(HostError, match=words),
    ):
        device.examine(Digest.of(b""), [(Digest.of(b""), RUNTIME, 1)])


def test_a_command_reports_its_code_and_the_end_of_its_output(tmp_path: Path) -> None:
    """Commands run in the root; their output is bounded; one that outlasts its time ends with 124."""
    with open_device(tmp_path / "root") as device:
        done = device.run("pwd; exit 3", timeout_s=5)
        assert (done.exit_code, done.output.strip()) == (3, str(tmp_path / "root"))
        assert len(device.run("yes | head -c 1000000", timeout_s=5).output) <= 16 * 1024
        assert device.run("sleep 20", timeout_s=0.2).exit_code == 124


def test_the_agent_is_the_same_bytes_everywhere() -> None:
    """The zip holds no times and no order of a file system, so its digest depends on the sources alone."""
    told = "import sys; from ota.remote.bootstrap import agent_zip; sys.stdout.buffer.write(agent_zip())"
    other = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True)
    assert other.stdout == agent_zip()


def test_both_sides_speak_the_same_protocol() -> None:
    """The agent carries its own copies of the protocol's numbers; they are those of the controller."""
    from ota.agent import blobs, dialogue

    assert dialogue.PROTOCOL_VERSION == PROTOCOL_VERSION
    assert dialogue.MAX_LINE == MAX_LINE
    assert set(blobs.KINDS) == {kind.value for kind in BlobKind}
