"""What the rivals' own scripts share: the task they are given, and a thread a host. Standard library alone."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TASK: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")) if len(sys.argv) > 1 else {}
"""hosts (name, address, port), user, key, known_hosts, model, release, switch, forks; see `tools.Task`."""


def on_all(job: Any) -> None:
    """Run `job(host)` on every host in as many threads as the task has forks."""
    with ThreadPoolExecutor(TASK["forks"]) as pool:
        list(pool.map(job, TASK["hosts"]))
