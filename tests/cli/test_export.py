"""`ota export`: what would be deployed, as a folder that OpenSSF's own program verifies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_resume import PROOF, Project
from tests.signing.test_openssf import an_ec_key


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a release key, a key for exports, and three devices without a release."""
    pytest.importorskip("model_signing", reason="model-signing is not installed here")
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)
    project = Project(tmp_path)
    assert project.run("key", "init").returncode == 0
    an_ec_key(tmp_path / "openssf.pem")
    return project


def verified(project: Project, name: str) -> subprocess.CompletedProcess[str]:
    """Verify an export by the library's own command line."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", "verify", "key", name, "--signature", f"{name}.sig", "--public_key", f"{name}.pub"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_what_is_exported_is_what_is_deployed(project: Project) -> None:
    """The library's own program verifies it, and refuses it with another model; the device gets the same manifest afterwards."""
    done = project.run("export", "--model", "v1.tflite", "--key", "openssf.pem")
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    assert f"model_signing verify key {name} --signature {name}.sig" in " ".join(done.stderr.split())
    assert (project.folder / name / "model.tflite").read_bytes() == PROOF.read_bytes() + bytes(4)
    checked = verified(project, name)
    assert checked.returncode == 0, checked.stderr + checked.stdout
    assert project.run("deploy", "--model", "v1.tflite").returncode == 0
    there = project.folder / "a" / "current"
    assert there.readlink().name == name.removeprefix("release-")
    assert (there / "manifest.json").read_bytes() == (project.folder / name / "manifest.json").read_bytes()
    assert json.loads((there / "manifest.json").read_text())["counter"] > 0
    (project.folder / name / "model.tflite").write_bytes(PROOF.read_bytes())
    assert verified(project, name).returncode != 0


def test_what_is_there_is_not_mixed_with_it(project: Project) -> None:
    """A second export to the same place is refused and leaves the first; to another it is the same again."""
    first = project.run("export", "--model", "v1.tflite", "--key", "openssf.pem")
    again = project.run("export", "--model", "v1.tflite", "--key", "openssf.pem")
    assert again.returncode == 64
    assert "what is exported is never mixed with what is there" in again.stderr
    name = first.stdout.strip()
    assert verified(project, name).returncode == 0
    other = project.run("export", "--model", "v1.tflite", "--key", "openssf.pem", "--output", "exports")
    assert other.stdout.strip() == f"exports/{name}"


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [
        ("none.pem", 66, "the key cannot be read"),
        (".config/ota/keys/release", 65, "not a private key on the curve P-256"),
    ],
    ids=["missing", "a release key"],
)
def test_a_key_that_cannot_sign_is_told_before_anything_is_written(
    project: Project, key: str, code: int, said: str
) -> None:
    """With the documented exit code, and how one is made."""
    done = project.run("export", "--model", "v1.tflite", "--key", key)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (code, True)
    assert "openssl ecparam -name prime256v1" in " ".join(done.stderr.split())
    assert not list(project.folder.glob("release-*"))
