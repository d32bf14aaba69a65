"""Proof: what a fine-tuning of the shared MobileNet costs on the wire, against block matching as rsync does it, xz, and bytes subtracted and xz.

Run: make proof-delta
"""

from __future__ import annotations

import lzma
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.fine_tuning import ROOT, SCHEMES, SHARED, file_of, make_all
from ota.deltas.encode import delta, packed

GOALS = {"last": 624, "gentle": 54_000, "hard": 208_000}
BLOCK = 700
_DECODE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ota.agent import delta, files
encoded, base, made = (open(path, mode) for path, mode in zip(sys.argv[2:5], ("rb", "rb", "w+b")))
size = int(sys.argv[5])
def reader(file):
    def read(count, place):
        file.seek(place)
        return file.read(count)
    return read
def write(data, place):
    made.seek(place)
    made.write(data)
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
with open("/proc/self/clear_refs", "w") as refs:
    refs.write("5")
before = peak()
began = time.process_time()
delta.decode(reader(encoded), reader(base), size, write, reader(made))
took = time.process_time() - began
print(took, peak() - before)
"""


def main() -> None:
    """Measure, print, compare."""
    figures = Figures()
    if not SHARED.is_dir():
        sys.exit("the shared network and photographs are not on this machine: nothing to measure")
    make_all()
    print(
        f"{'scheme':14} {'fine-tuning':11} {'file':>9} {'blocks':>9} {'xz -9':>9} {'minus, xz':>9} {'packed':>9} {'delta':>9} {'encode s':>9} {'decode s':>9} {'MB':>5}"
    )
    worst = slowest = largest = 0.0
    for scheme in SCHEMES:
        base = file_of("base", scheme).read_bytes()
        for name, goal in GOALS.items():
            content = file_of(name, scheme).read_bytes()
            began = time.perf_counter()
            made = delta(content, base)
            encode_s = time.perf_counter() - began
            whole = packed(content)
            decode_s, memory = decoding(made, base, content)
            whole_s, whole_memory = decoding(whole, b"", content)
            subtracted = len(lzma.compress(minus(content, base)))
            print(
                f"{scheme:14} {name:11} {len(content):9} {blocks(content, base):9} {len(lzma.compress(content, preset=9)):9} {subtracted:9} {len(whole):9} {len(made):9} {encode_s:9.2f} {decode_s:9.3f} {memory / 1e6:5.1f}",
                flush=True,
            )
            worst = max(worst, len(made) / subtracted)
            slowest = max(slowest, decode_s / len(content), whole_s / len(content))
            largest = max(largest, memory, whole_memory)
            if scheme == "int8":
                figures.add(f"int8, {name}", len(made), "<=", goal, unit=" bytes")
    noise = np.random.RandomState(1).bytes(1_000_000)
    figures.add("most of byte subtraction and xz, any scheme", worst, "<=", 1.0)
    figures.add("noise, packed, of its size", len(packed(noise)) / len(noise), "<=", 1.01)
    figures.add("noise beside noise, of its size", len(delta(noise, noise[::-1])) / len(noise), "<=", 1.01)
    figures.add("slowest decoding, processor time a MB", slowest * 1e6, "<=", 0.2, unit=" s")
    figures.add("most memory in decoding", largest / 1e6, "<=", 16, unit=" MB")
    figures.finish()


def minus(content: bytes, base: bytes) -> bytes:
    """Return the bytes of a file less those of a base of the same size."""
    return (np.frombuffer(content, np.uint8) - np.frombuffer(base, np.uint8)).tobytes()


def blocks(content: bytes, base: bytes) -> int:
    """Return what rsync -z sends: bytes in no block of the base, at any offset, through zlib, and eight bytes a match."""
    known = {base[place : place + BLOCK] for place in range(0, len(base), BLOCK)}
    literal, place, matches = bytearray(), 0, 0
    while place < len(content):
        if content[place : place + BLOCK] in known:
            place += BLOCK
            matches += 1
        else:
            literal += content[place : place + 1]
            place += 1
    return len(zlib.compress(bytes(literal), 6)) + 8 * matches


def decoding(encoded: bytes, base: bytes, content: bytes) -> tuple[float, float]:
    """Return the processor seconds and the bytes of memory that the agent's decoder takes in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "encoded").write_bytes(encoded)
        (folder / "base").write_bytes(base)
        paths = [str(folder / one) for one in ("encoded", "base", "made")]
        done = subprocess.run(
            [sys.executable, "-c", _DECODE, str(ROOT), *paths, str(len(content))],
            capture_output=True,
            text=True,
            check=True,
        )
        if (folder / "made").read_bytes() != content:
            sys.exit("a decoded file is not the file")
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


if __name__ == "__main__":
    main()
