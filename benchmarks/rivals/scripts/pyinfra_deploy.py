"""The work as pyinfra's operations: put, then one command."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pyinfra.operations import files, server

TASK = json.loads(Path(os.environ["FLEET_SPEED_TASK"]).read_text(encoding="utf-8"))

files.put(name="model", src=TASK["model"], dest=f"{TASK['release']}/model.tmp", create_remote_dir=True)
server.shell(name="switch", commands=[TASK["switch"]])
