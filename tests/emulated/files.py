"""The networks that emulated boards are asked about: some made by hand, one converted under every scheme, and real ones where they are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from ota.core.scheme import SCHEMES
from ota.quantize.convert import CandidateFile, convert_all
from ota.quantize.dataset import Dataset, no_targets
from ota.quantize.source import recognise
from tests.agent.networks import custom, dense, dense_int8
from tests.emulated.boards import ROOT

SHARED = ROOT.parent / "shared" / "data"
REAL = ("foreign/hello_world_float", "foreign/hello_world_int8", "foreign/mobilenet_v1_0.5_160_quant",
        "foreign/person_detect_vela", "models/model_float32", "models/model_int8_floatio")  # fmt: skip


class _Kept:
    """A cache that is a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Path | None:
        path = self._folder / key
        return path if path.exists() else None

    def put(self, key: str, content: bytes) -> Path:
        path = self._folder / key
        path.write_bytes(content)
        return path


def by_hand(folder: Path) -> dict[str, Path]:
    """Write networks that need no converter, two that load nowhere among them."""
    weights = [[(3 * row - 5 * column) % 7 / 8 - 0.4 for column in range(12)] for row in range(6)]
    integers = [[(37 * row + 53 * column) % 255 - 127 for column in range(12)] for row in range(6)]
    contents = {
        "dense": dense(weights),
        "dense int8": dense_int8(integers, scales=(1 / 128, 1 / 127, 0.06)),
        "unknown operator": custom(4),
        "no network": b"....TFL3 nonsense",
    }
    files = {}
    for name, content in contents.items():
        files[name] = folder / f"{name.replace(' ', '_')}.tflite"
        files[name].write_bytes(content)
    return files


def converted(folder: Path) -> dict[str, Path]:
    """Convert a small network of convolutions under every scheme there is; `conv <scheme>` is its name here."""
    script = Path(__file__).with_name("make_network.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    pixels = np.random.default_rng(5).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    grey = np.linspace(0.1, 1, 60)[:, None, None, None]
    pixels = (pixels * grey).astype(np.uint8)
    calibration = Dataset(samples=pixels, targets=no_targets(60), scale=(1 / 127.5,), offset=(-1.0,))
    source = recognise(folder / "net.keras")
    answers = convert_all(source, SCHEMES, calibration, cache=_Kept(folder), emit=lambda _: None)
    return {f"conv {one.candidate.scheme}": one.path for one in answers if isinstance(one, CandidateFile)}


def real() -> dict[str, Path]:
    """Return real networks, by their file's name; empty on a user's machine."""
    files = {Path(name).name: SHARED / f"{name}.tflite" for name in REAL}
    return {name: path for name, path in files.items() if path.is_file()}


def all_files(folder: Path) -> dict[str, Path]:
    """Return every network, those that have to be made in `folder`."""
    return {**by_hand(folder), **converted(folder), **real()}
