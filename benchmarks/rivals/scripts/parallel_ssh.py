"""The work by parallel-ssh's native client: its copy to all hosts, then one command on all."""

from __future__ import annotations

from common import TASK
from gevent import joinall
from pssh.clients import ParallelSSHClient
from pssh.config import HostConfig

hosts = TASK["hosts"]
client = ParallelSSHClient(
    [host["address"] for host in hosts],
    user=TASK["user"],
    pkey=TASK["key"],
    pool_size=TASK["forks"],
    allow_agent=False,
    host_config=[HostConfig(port=host["port"]) for host in hosts],
)
joinall(client.copy_file(TASK["model"], f"{TASK['release']}/model.tmp"), raise_error=True)
output = client.run_command(TASK["switch"])
client.join(output)
failed = [f"{one.host}:{one.exit_code} {''.join(one.stderr)}" for one in output if one.exit_code]
if failed:
    raise SystemExit("\n".join(failed))
