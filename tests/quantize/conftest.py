"""Tiny networks, really trained by nobody but really converted, and a cache that is a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ota.quantize.dataset import Dataset, no_targets

HERE = Path(__file__).parent
SHARED = HERE.parent.parent.parent / "shared" / "data"


class FolderCache:
    """The simplest thing that keeps files by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Path | None:
        """Return the file of `key`."""
        path = self.folder / key
        return path if path.exists() else None

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content`."""
        path = self.folder / key
        path.write_bytes(content)
        return path


@pytest.fixture
def cache(tmp_path: Path) -> FolderCache:
    """An empty cache."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return FolderCache(folder)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the networks that make_networks.py writes."""
    folder = tmp_path_factory.mktemp("networks")
    done = subprocess.run(
        [sys.executable, HERE / "make_networks.py", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def photographs() -> Dataset:
    """Forty noisy byte images of 8x8 pixels, to be scaled to -1..1."""
    pixels = np.random.default_rng(3).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return Dataset(samples=pixels, targets=no_targets(40), scale=(1 / 127.5,), offset=(-1.0,))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data, where this machine has it."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not on this machine ({SHARED.parent.name}/{SHARED.name})")
    return SHARED
