"""The work by paramiko as its documentation shows it: a thread a host, SFTP's put, one command behind it."""

from __future__ import annotations

from typing import Any

import paramiko
from common import TASK, on_all


def connected(host: dict[str, Any]) -> paramiko.SSHClient:
    """Return a client that is signed in."""
    client = paramiko.SSHClient()
    client.load_host_keys(TASK["known_hosts"])
    client.connect(
        host["address"],
        port=host["port"],
        username=TASK["user"],
        key_filename=TASK["key"],
        allow_agent=False,
        look_for_keys=False,
    )
    return client


def ran(client: paramiko.SSHClient, command: str) -> None:
    """Run a command to its end; RuntimeError where it fails."""
    _, out, err = client.exec_command(command)
    if out.channel.recv_exit_status():
        raise RuntimeError(err.read().decode())


def deploy(host: dict[str, Any]) -> None:
    """Deploy to one host."""
    with connected(host) as client:
        ran(client, f"mkdir -p {TASK['release']}")
        with client.open_sftp() as sftp:
            sftp.put(TASK["model"], f"{TASK['release']}/model.tmp")
        ran(client, TASK["switch"])


if __name__ == "__main__":
    on_all(deploy)
