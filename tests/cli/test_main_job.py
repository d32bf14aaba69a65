"""The main job through the real command line, over real OpenSSH, with the demo's network: provision, select, deploy, status, rollback, twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ota.lab.fleet import LabState

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "waste_sorting"

PLAYBOOK = f"""\
- name: waste sorting
  hosts: sorters
  model:
    name: waste-sorting
    source: {EXAMPLE}/model.keras
    artifacts: {{labels.txt: {EXAMPLE}/labels.txt}}
  select:
    evaluation: {{path: {EXAMPLE}/evaluation, limit: 60}}
    representative: {EXAMPLE}/representative
    preprocessing: {{scale: 1/127.5, offset: -1}}
    schemes: [float32, dynamic_range, int8, float16]
    measure: {{min_blocks: 3, max_blocks: 4, other_load: 1}}
  deploy:
    serial: [1, 100%]
    max_fail_percentage: 0
    health_check: {{command: test -s current/model.tflite && test -s current/labels.txt, retries: 1, delay: 100ms}}
"""

pytestmark = [pytest.mark.sshd, pytest.mark.tensorflow, pytest.mark.timeout(400)]


class Fleet:
    """A folder with an inventory and a playbook, and `ota` run in it."""

    def __init__(self, folder: Path, lab: LabState) -> None:
        self.folder = folder
        self.lab = lab
        (folder / "playbooks").mkdir(parents=True)
        (folder / "playbooks" / "site.yaml").write_text(PLAYBOOK)
        (folder / "inventory.yaml").write_text(Path(lab.inventory).read_text())

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "ota", *args],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )

    def json(self, schema: str, *args: str, code: int = 0) -> Any:
        """Run one command with --json, expect its exit code, validate its document and return it."""
        done = self.run(*args, "--json")
        assert done.returncode == code, done.stderr + done.stdout[-2000:]
        document = json.loads(done.stdout)
        jsonschema.validate(document, json.loads((ROOT / "docs" / "schemas" / f"{schema}.json").read_text()))
        return document

    def current(self, host: str) -> Path:
        """Return what an application on a device opens."""
        device = next(device for device in self.lab.devices if device.name == host)
        return Path(device.home) / "ota" / "current" / "model.tflite"


@pytest.fixture(scope="module")
def fleet(lab: LabState, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The lab's three devices, provisioned over SSH."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    document = fleet.json("provision", "provision")
    assert [host["state"] for host in document["hosts"]] == ["ok"] * 3
    return fleet


@pytest.fixture(scope="module")
def selection(fleet: Fleet) -> Any:
    """The first selection over the three devices."""
    (selection,) = fleet.json("select", "select")["selections"]
    return selection


def test_a_second_provision_changes_nothing(fleet: Fleet) -> None:
    """A device whose runtime proves itself receives nothing."""
    document = fleet.json("provision", "provision")
    assert [(host["changed"], host["bytes_sent"]) for host in document["hosts"]] == [(False, 0)] * 3


def test_ping_reads_every_boards_facts(fleet: Fleet) -> None:
    """`ota ping` reaches every device and prints what it says of itself."""
    document = fleet.json("ping", "ping")
    assert [host["host"] for host in document["hosts"]] == ["sorter-1", "sorter-2", "sorter-3"]
    assert all(host["facts"]["memory_total_bytes"] > 0 for host in document["hosts"])


def test_the_selection_holds_raw_samples_of_every_candidate(selection: Any) -> None:
    """Each feasible scheme was measured on every host, in blocks with the baseline; what is proposed has the least L of those."""
    feasible = [candidate for candidate in selection["candidates"] if candidate["status"] == "feasible"]
    assert {"float32", "float16"} <= {candidate["scheme"] for candidate in feasible}
    assert selection["answer"] in {"winner", "tie"}
    for host in selection["raw"]:
        for block in host["blocks"]:
            turns = [(turn["scheme"], turn["runtime"], turn["threads"]) for turn in block["turns"]]
            assert len(set(turns)) == len(turns)
            assert ("float32", host["runtimes"][0], 1) in turns
            assert all(len(turn["latencies_ns"]) >= 3 for turn in block["turns"])
    best = min(feasible, key=lambda candidate: candidate["L"]["value"])["scheme"]
    assert selection["winner"]["scheme"] in {best, *selection["tied"]}
    for one in selection["estimates"]:
        if one["complete"]:
            assert one["quality"]["samples"] == 60
            assert one["quality"]["metric"]["value"] > 0.9
        assert one["memory_bytes"] > 0
    assert set(selection["settings"]) == {"sorter-1", "sorter-2", "sorter-3"}


def test_a_scheme_that_an_old_runtime_cannot_load_is_foretold(selection: Any) -> None:
    """Dynamic range with per-channel dense layers is not even tried under tflite-runtime 2.14, and the row says why."""
    if not any(
        runtime.startswith("tflite-runtime") for host in selection["raw"] for runtime in host["runtimes"]
    ):
        pytest.skip("no Python here that tflite-runtime 2.14 was built for")
    row = next(candidate for candidate in selection["candidates"] if candidate["scheme"] == "dynamic_range")
    told = {failure["host"]: failure for failure in row["failures"] if failure["kind"] == "foretold"}
    assert "sorter-3" in told
    assert "FULLY_CONNECTED version 12 is unknown to tflite-runtime 2.14.0" in told["sorter-3"]["reason"]


def test_a_selection_is_replayed_to_the_last_bit(fleet: Fleet, selection: Any) -> None:
    """`ota replay` recomputes the same document from the raw samples."""
    (again,) = fleet.json("select", "replay", selection["id"])["selections"]
    assert again == selection


def test_the_whole_run_twice(fleet: Fleet, selection: Any) -> None:
    """Deploy, deploy again, select again, deploy again, roll back, roll back again: only what must change does, and bytes go once."""
    scheme = next(
        c["scheme"]
        for c in selection["candidates"]
        if c["scheme"] != selection["winner"]["scheme"] and c["settings"]
    )
    (first,) = fleet.json("rollout", "deploy", "--scheme", scheme)["rollouts"]
    assert [host["state"] for host in first["hosts"]] == ["confirmed"] * 3
    (second,) = fleet.json("rollout", "deploy")["rollouts"]
    assert [host["changed"] for host in second["hosts"]] == [True] * 3
    # What was measured on a device is there already: no model bytes are sent for it.
    # A release under another setting brings its runtime.json, and no more.
    assert all(host["bytes_sent"] < 1000 for host in second["hosts"])
    assert {host["digest"] for host in second["hosts"]} == {selection["winner"]["digest"]}
    for host in ("sorter-1", "sorter-2", "sorter-3"):
        assert fleet.current(host).stat().st_size == selection["winner"]["size_bytes"]
    (third,) = fleet.json("rollout", "deploy")["rollouts"]
    assert [(host["changed"], host["bytes_sent"]) for host in third["hosts"]] == [(False, 0)] * 3

    again = fleet.run("select")
    assert again.returncode == 0, again.stderr
    assert " changed " not in again.stderr.replace("unchanged", "")
    (status,) = fleet.json("status", "status")["plays"]
    assert [(host["drift"], host["current"]) for host in status["hosts"]] == [
        ("", host["release"]) for host in second["hosts"]
    ]
    for host in status["hosts"]:
        setting = selection["settings"][host["host"]]
        assert (host["runtime"], host["threads"]) == (setting["runtime"], setting["threads"])

    (back,) = fleet.json("rollout", "rollback")["rollouts"]
    assert [(host["release"], host["bytes_sent"], host["changed"]) for host in back["hosts"]] == [
        (host["release"], 0, True) for host in first["hosts"]
    ]
    (still,) = fleet.json("rollout", "rollback")["rollouts"]
    assert [(host["release"], host["changed"]) for host in still["hosts"]] == [
        (host["release"], False) for host in first["hosts"]
    ]
    history = fleet.json("history", "history")
    assert [run["command"].split()[0] for run in history["runs"]][:2] == ["rollback", "rollback"]


def test_deploy_of_what_is_no_model_is_refused_before_any_device(fleet: Fleet) -> None:
    """A file that is no .tflite is exit code 65 with what was expected and found."""
    wrong = fleet.folder / "wrong.tflite"
    wrong.write_bytes(b"this is not a model at all")
    done = fleet.run("deploy", "--model", str(wrong))
    assert done.returncode == 65
    assert "not a .tflite: expected TFL3 at byte 4" in done.stderr


def test_a_model_that_does_not_load_there_is_refused_in_the_runtimes_own_words(
    fleet: Fleet, selection: Any
) -> None:
    """A network for another accelerator never becomes current: the load check on the canary stops the rollout."""
    alien = ROOT.parent / "shared" / "data" / "foreign" / "person_detect_vela.tflite"
    if not alien.is_file():
        pytest.skip("the foreign models are not here")
    assert selection["winner"] is not None
    (rollout,) = fleet.json("rollout", "deploy", "--model", str(alien), code=2)["rollouts"]
    assert [host["state"] for host in rollout["hosts"]] == ["failed", "skipped", "skipped"]
    assert "unresolved custom op: ethos-u" in rollout["hosts"][0]["reason"]


def test_a_dead_board_is_exit_code_4_and_stops_nobody_outside_its_batch(fleet: Fleet, selection: Any) -> None:
    """A host that does not answer is unreachable with the address that was tried; the others are looked at all the same."""
    assert selection["id"]
    done = fleet.run("status", "--json", "-e", "ansible_port=1", "--limit", "sorter-2")
    assert done.returncode == 4
    (host,) = json.loads(done.stdout)["plays"][0]["hosts"]
    assert host["state"] == "unreachable"
    assert "127.0.0.1" in host["reason"]


def test_an_unknown_host_key_is_refused_with_the_command_that_records_it(fleet: Fleet) -> None:
    """Without a recorded key nothing is said to a host; `ota trust --yes` records it, and then it answers."""
    known = fleet.folder / "other_known_hosts"
    option = json.dumps({"ansible_ssh_common_args": f"-o UserKnownHostsFile={known}"})
    refused = fleet.run("ping", "--limit", "sorter-1", "-e", option)
    assert refused.returncode == 4
    assert "ota trust" in " ".join(refused.stdout.split())
    trusted = fleet.run("trust", "--yes", "--limit", "sorter-1", "-e", option)
    assert trusted.returncode == 0, trusted.stderr
    assert "SHA256:" in trusted.stdout
    assert fleet.run("ping", "--limit", "sorter-1", "-e", option).returncode == 0


@pytest.mark.parametrize("command", ["status", "deploy", "rollback", "provision", "ping", "history"])
def test_no_command_but_select_loads_numpy_or_tensorflow(command: str, fleet: Fleet, selection: Any) -> None:
    """Commands that convert nothing stay light: neither TensorFlow nor NumPy is in the process when they end."""
    assert selection["winner"] is not None
    code = (
        "import sys\nfrom ota.cli.main import run\n"
        f"code = run([{command!r}])\n"
        "sys.exit(f'loaded {heavy}' if (heavy := set(sys.modules) & {'tensorflow', 'numpy', 'PIL'}) else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=fleet.folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr


GATE = "    gate: {accuracy_drop: BOUND, latency_increase: 900%, budget: 20s}\n"


def test_a_canary_passes_the_gate_before_the_others_begin(fleet: Fleet, selection: Any) -> None:
    """Another candidate of the selection goes through the evaluation samples beside the live model, on the first batch's device alone."""
    assert fleet.run("deploy", "--scheme", "float32").returncode == 0
    book = fleet.folder / "playbooks" / "gated.yaml"
    book.write_text(PLAYBOOK + GATE.replace("BOUND", "1%"))
    refused = fleet.run("deploy", str(book), "--scheme", "float16")
    assert refused.returncode == 64
    said = " ".join(refused.stderr.split())
    assert "the gate of the play 'waste sorting' could pass no model: too few evaluation samples" in said
    assert "expected 361 at least to show a loss of at most 1 %" in said
    book.write_text(PLAYBOOK + GATE.replace("BOUND", "30%"))
    done = fleet.run("deploy", str(book), "--scheme", "float16")
    assert done.returncode == 0, done.stderr
    gates = [line for line in done.stderr.splitlines() if ": gate: " in line]
    assert len(gates) == 1
    assert "sorter-1: gate: accuracy " in gates[0]
    assert "live, of 60 samples" in gates[0]
    again = fleet.run("deploy", str(book), "--scheme", "float16")
    assert again.returncode == 0
    assert ": gate: " not in again.stderr
    assert "changed=0" in again.stdout


def test_a_project_with_a_key_signs_what_it_selects(fleet: Fleet, selection: Any) -> None:
    """The last test of this folder, for from now on it has a keyring: what is selected is signed, and what was selected before is told of."""
    keys = ("--keys", str(fleet.folder / "keys"))
    assert fleet.run("key", "init", *keys).returncode == 0
    before = fleet.run("deploy", "--selection", selection["id"], "--check", *keys)
    assert f"the selection {selection['id']} is not signed; ota key sign --selection" in before.stderr
    without = fleet.run("select", "--keys", "nowhere")
    assert without.returncode == 0, without.stderr
    assert "the selection will not be signed: the private key release is not here" in without.stderr
    (signed,) = fleet.json("select", "select", *keys)["selections"]
    assert signed["vouched"] == {"worth": "signed", "keys": ["release"]}
    done = fleet.run("deploy", *keys)
    assert (done.returncode, "is not signed" in done.stderr) == (0, False)
    manifest = json.loads((fleet.current("sorter-1").parent / "manifest.json").read_text())
    assert manifest["selection"] == signed["id"]
    assert manifest["boards"] == sorted({host["facts"]["cpu_model"] for host in signed["raw"]})
    (anywhere,) = fleet.json("rollout", "deploy", "--any-board", *keys)["rollouts"]
    assert [host["state"] for host in anywhere["hosts"]] == ["confirmed"] * 3
    assert "boards" not in json.loads((fleet.current("sorter-1").parent / "manifest.json").read_text())


def test_a_colleague_deploys_what_was_selected_elsewhere(
    fleet: Fleet, selection: Any, tmp_path: Path
) -> None:
    """With a shared store the selection, its candidate and its probe come from there: another folder, which never selected anything, deploys it."""
    assert selection["id"]
    shared = PLAYBOOK + f"  store: {tmp_path}/shared\n"
    book = fleet.folder / "playbooks" / "shared.yaml"
    book.write_text(shared)
    made = fleet.run("select", str(book))
    assert made.returncode == 0, made.stderr
    colleague = Fleet(tmp_path / "colleague", fleet.lab)
    (colleague.folder / "playbooks" / "site.yaml").write_text(shared)
    done = colleague.run("deploy")
    assert done.returncode == 0, done.stderr
    (mine,) = fleet.json("status", "status")["plays"]
    (theirs,) = colleague.json("status", "status")["plays"]
    assert [host["current"] for host in theirs["hosts"]] == [host["current"] for host in mine["hosts"]]
    assert [host["drift"] for host in theirs["hosts"]] == [""] * 3
    shown = colleague.run("report", "--format", "markdown", "--output", "-")
    assert shown.returncode == 0, shown.stderr
