from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ota.core.connection import connection_of
from ota.errors import ContentError, ExitCode, UsageError
from ota.formats.inventory import load_inventory
from ota.lab.fleet import DeviceSpec, LabDevice, LabState, default_fleet
from ota.lab.lab import down, status, up
from ota.lab.sshd import free_port

ROOT = Path(__file__).parents[2]
StartLab = Callable[..., LabState]

pytestmark = pytest.mark.sshd


@pytest.fixture
def own_lab(start_lab: StartLab, tmp_path: Path) -> Iterator[Callable[[int], LabState]]:
    """Return `ota lab up` in one folder and on any ports, for tests that change a lab; called again it is `up` again."""

    def start(count: int) -> LabState:
        return up(tmp_path / "lab", count, first_port=0)

    yield start
    down(tmp_path / "lab")


def ssh(
    lab: LabState, device: LabDevice, command: str, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a command on a device with OpenSSH's own client and nothing but what the lab hands out."""
    argv = [
        "ssh", "-F", "none", "-p", str(device.port), "-i", lab.key, "-o", f'UserKnownHostsFile="{lab.known_hosts}"',
        "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "127.0.0.1", command,
    ]  # fmt: skip
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def ends(pid: int) -> bool:
    """Wait until a process of the lab is gone."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if not Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_each_device_is_one_of_its_own(lab: LabState) -> None:
    """Every device has a home, a working folder and a host key that no other has, and a real Python first on its PATH."""
    seen: set[str] = set()
    for device in lab.devices:
        said = ssh(
            lab,
            device,
            "pwd -P; echo $HOME; python3 -c 'import sys; print(sys.executable, sys.prefix == sys.base_prefix)'",
        )
        assert said.stdout.splitlines() == [device.home, device.home, f"{device.python} True"], said.stderr
        seen.add(device.home)
    assert len(seen) == 3
    keys = {line.split()[2] for line in Path(lab.known_hosts).read_text().splitlines()}
    assert len(keys) == 3


def test_a_login_pays_for_no_startup_file_of_the_account(lab: LabState) -> None:
    """What a shell reads at start is looked for in the device's home: nothing of the account's environment arrives."""
    device = lab.devices[0]
    startup = Path(device.home, ".bashrc")
    startup.write_text("echo the device's own\n")
    said = ssh(lab, device, "env")
    startup.unlink()
    assert f"HOME={device.home}" in said.stdout
    assert "VIRTUAL_ENV" not in said.stdout
    assert f"PATH={Path(device.home).parent}/bin:" in said.stdout


def test_a_virtual_environment_made_on_a_device_works(start_lab: StartLab, tmp_path: Path) -> None:
    """The device's Python makes an environment in its home that finds its library; so it does in a folder with a space."""
    lab = start_lab(folder=tmp_path / "a lab's folder")
    said = ssh(
        lab,
        lab.devices[0],
        "python3 -m venv --without-pip e && e/bin/python -c 'import json, sys; print(sys.prefix)'",
    )
    assert said.stdout.strip() == f"{lab.devices[0].home}/e", said.stderr


def test_files_can_be_copied_as_to_a_board(lab: LabState, tmp_path: Path) -> None:
    """A person's scp lands in the device's home."""
    if not any(
        Path(path).exists() for path in ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
    ):
        pytest.skip("this OpenSSH has no sftp-server")
    (tmp_path / "model").write_text("bytes")
    device = lab.devices[1]
    argv = [
        "scp",
        "-q",
        "-F",
        "none",
        "-P",
        str(device.port),
        "-i",
        lab.key,
        "-o",
        f"UserKnownHostsFile={lab.known_hosts}",
    ]
    subprocess.run([*argv, str(tmp_path / "model"), "127.0.0.1:copied"], check=True, timeout=60)
    assert Path(device.home, "copied").read_text() == "bytes"


def test_the_inventory_that_a_lab_writes_reaches_its_devices(lab: LabState) -> None:
    """`inventory.yaml` in the lab's folder has, for each device, the line's port, the key, the known hosts and the runtimes."""
    hosts = load_inventory([lab.inventory]).select("sorters")
    assert [host.name for host in hosts] == ["sorter-1", "sorter-2", "sorter-3"]
    for host, device in zip(hosts, lab.devices, strict=True):
        connection = connection_of(host)
        assert (connection.address, connection.port) == ("127.0.0.1", device.port)
        assert connection.private_key_files == (lab.key,)
        assert connection.known_hosts_files == (lab.known_hosts,)
        assert connection.ota_root == "~/ota"
        assert connection.ota_runtime == device.runtimes
    assert lab.devices[2].runtimes == ("tflite-runtime", "ai-edge-litert")


def test_the_inventory_survives_a_folder_with_a_space(start_lab: StartLab, tmp_path: Path) -> None:
    """Paths with spaces and apostrophes arrive whole in the connection."""
    lab = start_lab(folder=tmp_path / "a lab's folder")
    connection = connection_of(load_inventory([lab.inventory]).select("all")[0])
    assert connection.known_hosts_files == (lab.known_hosts,)
    assert connection.private_key_files == (lab.key,)


def test_the_shipped_inventory_names_the_default_devices() -> None:
    """The inventory.yaml of the project and a lab of three are the same devices, ports and runtimes."""
    hosts = load_inventory([str(ROOT / "inventory.yaml")]).select("sorters")
    connections = [connection_of(host) for host in hosts]
    assert [
        (host.name, connection.port, connection.ota_runtime)
        for host, connection in zip(hosts, connections, strict=True)
    ] == [(spec.name, spec.port, spec.runtimes) for spec in default_fleet(3)]
    for connection in connections:
        assert connection.private_key_files == (".ota/lab/id_ed25519",)
        assert connection.known_hosts_files == (".ota/lab/known_hosts",)
        assert connection.ota_root == "~/ota"


def test_a_second_up_leaves_everything_alone(own_lab: Callable[[int], LabState]) -> None:
    """`up` on a lab that runs keeps every process, key and inventory."""
    lab = own_lab(2)
    key = Path(lab.key).read_bytes()
    again = own_lab(2)
    assert [device.pid for device in again.devices] == [device.pid for device in lab.devices]
    assert [device.port for device in again.devices] == [device.port for device in lab.devices]
    assert Path(lab.key).read_bytes() == key


def test_up_restarts_only_what_died(own_lab: Callable[[int], LabState]) -> None:
    """A daemon that died is started again with the same host key and the same disk; the others and the lines are left alone."""
    lab = own_lab(2)
    first, second = lab.devices
    Path(first.home, "kept").write_text("kept")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    assert ends(first.pid)
    assert [device.running for device in status(Path(lab.folder)).devices] == [False, True]
    again = own_lab(2)
    assert again.running
    assert again.link_pid == lab.link_pid
    assert again.devices[1].pid == second.pid
    assert again.devices[0].pid != first.pid
    assert ssh(lab, first, "cat kept").stdout == "kept"


def test_up_restarts_lines_that_died(own_lab: Callable[[int], LabState]) -> None:
    """Without its lines no device counts as running; `up` starts them and leaves the daemons alone."""
    lab = own_lab(2)
    assert lab.link_pid is not None
    os.kill(lab.link_pid, signal.SIGKILL)
    assert ends(lab.link_pid)
    assert not any(device.running for device in status(Path(lab.folder)).devices)
    again = own_lab(2)
    assert again.running
    assert [device.pid for device in again.devices] == [device.pid for device in lab.devices]
    assert ssh(lab, again.devices[1], "echo back").stdout == "back\n"


def test_a_lab_grows_and_shrinks(own_lab: Callable[[int], LabState]) -> None:
    """`up` with another count starts what is missing and stops what is beyond it."""
    lab = own_lab(1)
    grown = own_lab(3)
    assert [device.name for device in grown.devices] == ["sorter-1", "sorter-2", "sorter-3"]
    assert grown.devices[0].pid == lab.devices[0].pid
    assert ssh(grown, grown.devices[2], "echo here").stdout == "here\n"
    shrunk = own_lab(2)
    assert [device.pid for device in shrunk.devices] == [device.pid for device in grown.devices[:2]]
    assert grown.devices[2].pid is not None
    assert ends(grown.devices[2].pid)


def test_down_ends_every_process_and_keeps_the_disks(own_lab: Callable[[int], LabState]) -> None:
    """`down` ends daemons and lines, twice is fine, and the next `up` finds the homes as they were."""
    lab = own_lab(2)
    folder = Path(lab.folder)
    Path(lab.devices[1].home, "kept").write_text("kept")
    down(folder)
    down(folder)
    after = status(folder)
    assert [(device.running, device.pid) for device in after.devices] == [(False, None), (False, None)]
    assert after.link_pid is None
    for device in lab.devices:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", device.port), timeout=5)
    again = own_lab(2)
    assert ssh(again, again.devices[1], "cat kept").stdout == "kept"


def test_there_may_be_no_lab(tmp_path: Path) -> None:
    """`status` and `down` where there never was a lab say so and make nothing."""
    assert status(tmp_path / "none").devices == ()
    assert not status(tmp_path / "none").running
    down(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_folder_is_its_users_alone(start_lab: StartLab) -> None:
    """The client key lets everyone in who reads it: its folder is closed, the key itself too."""
    lab = start_lab(1)
    assert stat.S_IMODE(Path(lab.folder).stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(lab.key).stat().st_mode) == 0o600


def test_the_daemons_listen_on_loopback_and_take_the_labs_key_alone(lab: LabState, tmp_path: Path) -> None:
    """Another key, and any password, is refused."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    device = lab.devices[0]
    argv = [
        "ssh",
        "-F",
        "none",
        "-p",
        str(device.port),
        "-i",
        str(tmp_path / "other"),
        "-o",
        "IdentitiesOnly=yes",
    ]
    argv += ["-o", f"UserKnownHostsFile={lab.known_hosts}", "-o", "BatchMode=yes", "127.0.0.1", "true"]
    refused = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr
    config = (Path(device.home).parent / "sshd_config").read_text()
    assert "ListenAddress 127.0.0.1\n" in config


def test_a_taken_port_is_named_and_nothing_is_started(start_lab: StartLab, tmp_path: Path) -> None:
    """Where a port is taken the message names it, and no daemon is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        fleet = [
            DeviceSpec(name="sorter-1", port=free_port(), rate_kbit=1000, delay_ms=0),
            DeviceSpec(name="sorter-2", port=port, rate_kbit=1000, delay_ms=0),
        ]
        with pytest.raises(UsageError) as caught:
            up(tmp_path, fleet=fleet)
    assert caught.value.render().startswith(
        f"sorter-2: port {port} on 127.0.0.1 cannot be had: Address already in use\n"
    )
    assert caught.value.exit_code == ExitCode.USAGE
    assert not list(tmp_path.glob("*/sshd.pid"))


def test_any_port_will_do(own_lab: Callable[[int], LabState]) -> None:
    """Where any port will do, one that somebody else took meanwhile is replaced, and the inventory says the new one."""
    lab = own_lab(1)
    down(Path(lab.folder))
    with socket.create_server(("127.0.0.1", lab.devices[0].port)):
        again = own_lab(1)
    assert again.devices[0].port != lab.devices[0].port
    assert f"ansible_port: {again.devices[0].port}\n" in Path(again.inventory).read_text()
    assert ssh(again, again.devices[0], "echo here").stdout == "here\n"


def test_a_pid_file_of_an_earlier_boot_ends_no_stranger(start_lab: StartLab) -> None:
    """A pid that belongs to another program now is not counted as ours and not ended."""
    lab = start_lab(1)
    down(Path(lab.folder))
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for name in ("link.pid", "sorter-1/sshd.pid"):
            Path(lab.folder, name).write_text(f"{stranger.pid}\n")
        assert status(Path(lab.folder)).devices[0].pid is None
        down(Path(lab.folder))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["", "{", "[{}]", '{"a": 1}', "[1]", '[{"name": "x", "port": "y"}]'])
def test_a_damaged_record_is_told_with_the_way_out(tmp_path: Path, text: str) -> None:
    """A record that is not one is an error of content that names the file and what to do."""
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(ContentError) as caught:
        status(tmp_path)
    assert caught.value.render().startswith(f"{tmp_path}/lab.json: this is no record of a lab: ")
    assert caught.value.render().endswith(f"(remove {tmp_path}/lab.json, then 'ota lab up')")


@pytest.mark.parametrize(("count", "port"), [(0, 24801), (201, 24801), (3, 65534)])
def test_a_lab_that_cannot_be_is_refused(tmp_path: Path, count: int, port: int) -> None:
    """Too few, too many, or ports beyond the last: said before anything is made."""
    with pytest.raises(
        UsageError, match="such a lab cannot be: expected 1 to 200 devices on ports up to 65535"
    ):
        up(tmp_path / "lab", count, first_port=port)
    assert not (tmp_path / "lab").exists()


def test_a_folder_that_cannot_be_is_refused(start_lab: StartLab, tmp_path: Path) -> None:
    """A file in the place of the folder, and a name that sshd cannot read in its config, are told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the lab's folder cannot be made: found File exists"):
        up(tmp_path / "file")
    with pytest.raises(UsageError, match="a lab cannot be in a folder with such a name"):
        up(tmp_path / 'a"b')


def test_the_record_holds_what_was_asked_for(start_lab: StartLab) -> None:
    """`lab.json` is the fleet with each device's interpreter, for `status` to read."""
    lab = start_lab(1, rate_kbit=5000, delay_ms=7)
    (entry,) = json.loads(Path(lab.folder, "lab.json").read_text())
    assert entry["rate_kbit"] == lab.devices[0].rate_kbit == 5000
    assert entry["delay_ms"] == lab.devices[0].delay_ms == 7
    assert entry["python"] == lab.devices[0].python
    assert shutil.which(entry["python"])
