"""What a command loads: the libraries and modules that it has no use for stay out of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ota.errors import ExitCode

ROOT = Path(__file__).parent.parent.parent
PROOF = ROOT / "ota" / "agent" / "proof.tflite"
PLAYBOOK = """\
- name: sorters
  hosts: all
  model: {name: sorter, source: model.keras}
  deploy: {load_check: false}
"""
NO_USE = {
    *("pydantic", "numpy", "tensorflow", "asyncio", "unittest", "email", "importlib.metadata", "logging", "ssl"),
    *("paramiko", "fabric", "invoke", "cryptography", "ota.remote.ssh", "ota.remote.trust", "ota.signing"),
    *("ota.core.samples", "ota.core.selection", "ota.core.verdict", "ota.core.runtime", "ota.core.graph_difference"),
    *("ota.report.select_types", "ota.store.shared", "ota.store.sharing", "ota.workflows.gate", "ota.workflows.select"),
}  # fmt: skip
"""What no command needs that looks at a device of this machine, or finds it up to date."""
COMMANDS = {
    "deploy": (["deploy", "--model", "new.tflite"], {"rich", "decimal", "ota.report.document_types"}),
    "deploy with a document": (["deploy", "--model", "new.tflite", "--json"], {"rich"}),
    "rollback in check mode": (
        ["rollback", "--check"],
        {"rich", "ota.report.document_types", "ota.quantize", "ota.signing"},
    ),
    "status": (["status"], {"ota.report.document_types", "ota.quantize", "ota.workflows.deploy"}),
    "status with a document": (["status", "--json"], {"rich", "ota.quantize", "ota.workflows.deploy"}),
    "verify": (["verify"], {"ota.report.document_types", "ota.quantize", "ota.workflows.deploy"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only host, this machine, has had two releases and runs the second."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "playbooks").mkdir()
    (folder / "playbooks" / "site.yaml").write_text(PLAYBOOK)
    host = {"ansible_connection": "local", "ota_root": str(folder / "device")}
    (folder / "inventory.yaml").write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    for number, name in enumerate(("old.tflite", "new.tflite")):
        (folder / name).write_bytes(PROOF.read_bytes() + bytes(4 * number))
        loaded_by(folder, ["deploy", "--model", name])
    return folder


def loaded_by(folder: Path, words: list[str], code: int = 0) -> set[str]:
    """Run a command line as the console script does, expect an exit code, and return every module that was loaded at its end."""
    write = "pathlib.Path('loaded').write_text(' '.join(sys.modules))"
    program = f"import atexit, pathlib, sys\natexit.register(lambda: {write})\nfrom ota.cli.main import main\nmain({words!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return set((folder / "loaded").read_text().split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_loads_nothing_that_it_has_no_use_for(name: str, folder: Path) -> None:
    """Each command ends well, with none of these in its process."""
    words, further = COMMANDS[name]
    loaded = loaded_by(folder, words)
    assert "ota.remote.device" in loaded
    assert not loaded & (NO_USE | further)


def test_ssh_is_loaded_where_there_is_a_host_for_it(folder: Path, tmp_path: Path) -> None:
    """And that alone: a host that is out of reach."""
    inventory = tmp_path / "inventory.yaml"
    there = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory.write_text(json.dumps({"all": {"hosts": {"there": there}}}))
    loaded = loaded_by(folder, ["status", "--json", "-i", str(inventory)], ExitCode.HOSTS_UNREACHABLE)
    assert {"paramiko", "fabric"} <= loaded
    assert not loaded & {"pydantic", "rich", "numpy", "ota.core.samples", "ota.core.verdict"}
