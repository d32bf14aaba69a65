"""pyinfra's inventory: the hosts of the task that the environment names."""

from __future__ import annotations

import json
import os
from pathlib import Path

TASK = json.loads(Path(os.environ["FLEET_SPEED_TASK"]).read_text(encoding="utf-8"))

fleet = [
    (
        host["name"],
        {
            "ssh_hostname": host["address"],
            "ssh_port": host["port"],
            "ssh_user": TASK["user"],
            "ssh_key": TASK["key"],
            "ssh_known_hosts_file": TASK["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
        },
    )
    for host in TASK["hosts"]
]
