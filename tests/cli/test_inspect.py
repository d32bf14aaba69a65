"""`ota inspect` as a person meets it: the real binary on real files, and on what is none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.agent.networks import custom, dense, dense_int8

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "inspect.json").read_text())


def ota(*args: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the real command line in `cwd`, with `path` before all else on PATH."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "ota", "inspect", *args],
        cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a float, an int8 and a custom network, and things that are none."""
    (tmp_path / "float.tflite").write_bytes(dense([[1.0, 2.0]]))
    (tmp_path / "int8.tflite").write_bytes(dense_int8([[1, 2]], scales=(1 / 127.5, 0.25, 1.0)))
    (tmp_path / "custom.tflite").write_bytes(custom(3))
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "text.tflite").write_text("no model at all")
    (tmp_path / "cut.tflite").write_bytes(dense([[1.0, 2.0]])[:80])
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    (tmp_path / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    return tmp_path


def test_a_file_is_shown_with_what_it_holds_and_where_it_loads(folder: Path) -> None:
    """Ends with scale and zero point, operators with version and count, types, and one line for each runtime."""
    done = ota("int8.tflite", cwd=folder)
    assert done.returncode == 0, done.stderr
    for words in (
        "int8 [1,2]",
        "scale 1/127.5 zero point 3",
        "FULLY_CONNECTED",
        "tflite-runtime 2.14.0",
        "loads",
    ):
        assert words in done.stdout
    assert done.stderr == ""


def test_a_custom_operator_loads_nowhere_and_the_reason_is_said(folder: Path) -> None:
    """The prediction names the operator under each runtime; --runtime keeps to one."""
    done = ota("custom.tflite", "--runtime", "ai-edge-litert 2.3.0", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "alien-op (custom)" in done.stdout
    assert "does not load  unresolved custom op: alien-op" in done.stdout
    assert "tflite-runtime" not in done.stdout


def test_a_runtime_that_was_never_tried_is_unknown(folder: Path) -> None:
    """Nothing is promised for a build that nobody probed."""
    done = ota("float.tflite", "--runtime", "ai-edge-litert 99", "--json", cwd=folder)
    assert [(one["runtime"], one["verdict"]) for one in json.loads(done.stdout)["loads"]] == [
        ("ai-edge-litert 99", "unknown")
    ]


def test_differences_are_said_against_another_file(folder: Path) -> None:
    """--against adds one sentence a difference; a file has none against itself."""
    done = ota("int8.tflite", "--against", "float.tflite", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Otherwise than float.tflite" in done.stdout
    assert "input 1 is int8 [1,2] scale 1/127.5 zero point 3 instead of float32 [1,2]" in done.stdout
    assert "1 filter int8, before 1 float32" in done.stdout
    assert "FULLY_CONNECTED version 4, before 1" in done.stdout
    assert (
        "nothing: the graphs are alike" in ota("int8.tflite", "--against", "int8.tflite", cwd=folder).stdout
    )


@pytest.mark.parametrize("more", [[], ["--against", "float.tflite"]], ids=["alone", "against"])
def test_the_document_keeps_its_schema(more: list[str], folder: Path) -> None:
    """--json prints one document that validates, with or without differences, and nothing else."""
    done = ota("int8.tflite", "--json", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)
    assert (document["differences"] is None) == (not more)
    assert document["operators"] == [{"name": "FULLY_CONNECTED", "version": 4, "count": 1, "custom": False}]
    assert document["inputs"][0]["zero_points"] == [3]
    document["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_the_schema_is_that_of_the_type() -> None:
    """docs/schemas/inspect.json holds what scripts/write_schemas.py would write now."""
    from scripts.write_schemas import schema

    assert schema("inspect") == SCHEMA


REFUSED = {
    "a file that is not there": (["nowhere.tflite"], 66, "nowhere.tflite: the model cannot be read"),
    "a file to compare with that is not there": (["float.tflite", "--against", "nowhere.tflite"], 66, "nowhere.tflite"),
    "an empty file": (["empty.tflite"], 65, "found an empty file"),
    "a text": (["text.tflite"], 65, "not a model"),
    "a file that is cut short": (["cut.tflite"], 65, "damaged .tflite: the file is cut short or damaged"),
    "a SavedModel": (["saved"], 65, "expected a .tflite file, found a SavedModel (ota select converts it"),
    "a Keras file": (["old.h5"], 65, "expected a .tflite file, found a Keras model (ota select converts it"),
    "no file": ([], 64, "Missing argument 'MODEL.tflite'"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "code", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_tflite_is_refused(args: list[str], code: int, message: str, folder: Path) -> None:
    """One message on stderr, nothing on stdout, and the documented exit code."""
    done = ota(*args, cwd=folder)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_damaged_file_is_a_fault_of_ota(tmp_path: Path) -> None:
    """The command itself, in one process, shows or refuses files with random bytes, in words that a terminal survives."""
    content = dense_int8([[1, 2], [3, 4]], scales=(0.5, 0.25, 1.0))
    generator = random.Random(5)
    for number in range(150):
        damaged = bytearray(content)
        for _ in range(generator.randrange(1, 9)):
            damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
        (tmp_path / f"{number:03}.tflite").write_bytes(bytes(damaged))
    code = (
        "import pathlib; from ota.cli.main import run\n"
        "for file in sorted(pathlib.Path().glob('*.tflite')):\n"
        "    print('CODE', run(['inspect', str(file)])); print('CODE', run(['inspect', str(file), '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    codes = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("CODE")]
    assert len(codes) == 300, done.stderr[-2000:]
    assert set(codes) <= {"0", "65"}, done.stderr[-2000:]
    assert "\x1b" not in done.stdout


def test_netron_is_asked_for_where_it_is_missing(folder: Path) -> None:
    """Without Netron nothing is shown, and the hint says how to get it."""
    done = subprocess.run(
        [sys.executable, "-m", "ota", "inspect", "float.tflite", "--netron"],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 64
    assert "Netron is not installed" in done.stderr
    assert "pip install netron" in done.stderr
    assert done.stdout == ""


def test_netron_is_started_with_the_file(folder: Path) -> None:
    """Where a program of that name is on PATH it gets the file's whole path."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "netron").write_text('#!/bin/sh\nprintf "%s" "$*" > opened\n')
    (tools / "netron").chmod(0o755)
    done = ota("float.tflite", "--netron", cwd=folder, path=str(tools))
    assert done.returncode == 0, done.stderr
    assert (folder / "opened").read_text() == str(folder / "float.tflite")


def test_inspect_loads_neither_tensorflow_nor_numpy(folder: Path) -> None:
    """Looking at a file is quick: the heavy packages stay out."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(repr(sorted({'tensorflow', 'numpy', 'ai_edge_litert'} & set(sys.modules)))))\n"
        "from ota.cli.main import run; run(['inspect', 'int8.tflite', '--against', 'float.tflite'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == "[]"
