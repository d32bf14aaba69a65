"""The work by paramiko as one who counts would write it: a thread a host, everything in one command that reads the model from its stdin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import TASK, on_all
from paramiko_sftp import connected

MODEL = Path(TASK["model"]).read_bytes()


def deploy(host: dict[str, Any]) -> None:
    """Deploy to one host."""
    with connected(host) as client:
        channel = client.get_transport().open_session()
        channel.exec_command(
            f"mkdir -p {TASK['release']} && cat >{TASK['release']}/model.tmp && {TASK['switch']}"
        )
        channel.sendall(MODEL)
        channel.shutdown_write()
        if channel.recv_exit_status():
            raise RuntimeError(channel.recv_stderr(4096).decode())


if __name__ == "__main__":
    on_all(deploy)
