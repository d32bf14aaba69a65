"""The controller's memory in `.ota/`: blobs by digest, and in SQLite selections, transfers, rollouts and runs."""

from ota.store.store import Rolled, Run, Store

__all__ = ["Rolled", "Run", "Store"]
