"""Proof: a transfer over a real OpenSSH daemon whose connection is cut a hundred times, as a file and as an encoding, and what the cuts cost.

What is counted crossed the line, SSH's own bytes included, less what each connection needs before the file's first byte.
Run: make proof-resume
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.cutter import Cutter
from benchmarks.proofs.figures import Figures
from ota.core.connection import connection_of
from ota.core.inventory import Host
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.core.wire import Encoding
from ota.deltas.encode import packed
from ota.errors import OtaError
from ota.formats.inventory import load_inventory
from ota.lab.fleet import default_fleet
from ota.lab.lab import down, up
from ota.lab.sshd import free_port
from ota.remote import ssh
from ota.remote.device import Device

CUTS = 100
SIZE = 64 << 20
CHUNK = 256 * 1024
LINE = 8e6
"""Bytes a second, 64 Mbit/s: on a line without a limit a daemon that is slower than the line drops what it has not read when it is cut."""


def main() -> None:
    """Cut, resume, count."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet = [replace(default_fleet(1)[0], port=free_port(), rate_kbit=10_000_000, delay_ms=0)]
        lab = up(folder / "lab", fleet=fleet)
        try:
            (host,) = load_inventory([lab.inventory]).hosts
            _as_it_is(host, folder, figures)
            _encoded(host, folder, figures)
        finally:
            down(folder / "lab")
    figures.finish()


def _as_it_is(host: Host, folder: Path, figures: Figures) -> None:
    content = os.urandom(SIZE)
    line = _Line(host, folder, "file", content, ())
    began = time.monotonic()
    line.cut(CUTS)
    print(f"a file of {SIZE} bytes, cut {line.cuts} times: {time.monotonic() - began:.0f} s")
    line.tell(figures, "the file", SIZE)


def _encoded(host: Host, folder: Path, figures: Figures) -> None:
    content = bytes(byte & 0x3F for byte in os.urandom(SIZE // 4)) * 2
    made = packed(content)
    digest = Digest.of(made)
    (folder / digest.hex).write_bytes(made)
    form = Encoding(path=folder / digest.hex, digest=digest, size_bytes=len(made), base=None)
    line = _Line(host, folder, "encoded", content, (form,))
    line.cut(CUTS // 4)
    print(f"a file of {len(content)} bytes, compressed to {len(made)}, cut {line.cuts} times")
    line.tell(figures, "the encoding", len(made))


class _Line:
    """A device behind a relay that is cut after so many bytes, and a file that has to get there all the same."""

    def __init__(
        self, host: Host, folder: Path, name: str, content: bytes, forms: tuple[Encoding, ...]
    ) -> None:
        self._host, self._name, self._forms = host, name, forms
        self._cutter = Cutter(connection_of(host).port or 22, bytes_per_s=LINE)
        self._digest = Digest.of(content)
        self._path = folder / name
        self._path.write_bytes(content)
        self._root = folder / f"root-{name}"
        self._size = forms[0].size_bytes if forms else len(content)
        self._opening = self._measure_opening()
        self.cuts = 0
        self._crossed = 0
        self._worst = 0

    def _measure_opening(self) -> int:
        """Return what crosses before a file's first byte; the agent is there already."""
        for _ in range(2):
            before = self._cutter.carried
            with self._open() as device:
                device.held([(BlobKind.CANDIDATE, self._digest)])
            opening = self._cutter.carried - before
        return opening

    def cut(self, times: int) -> None:
        """Bring the file over as many connections as it takes, the first `times` of which are cut."""
        share = self._size // (times + 1)
        while True:
            here, before = self._have(), self._cutter.carried
            self._cutter.after = self._opening + share if self.cuts < times else 0
            try:
                with self._open() as device:
                    device.put(BlobKind.CANDIDATE, self._digest, self._path, forms=self._forms)
            except OtaError:
                self.cuts += 1
                time.sleep(0.2)
                crossed = self._cutter.carried - before - self._opening
                self._crossed += crossed
                self._worst = max(self._worst, crossed - (self._have() - here))
                continue
            self._crossed += self._cutter.carried - before - self._opening
            return

    def tell(self, figures: Figures, what: str, size: int) -> None:
        """Note what the cuts cost, and that the file is the file."""
        found = (self._root / "candidates" / self._digest.hex).read_bytes()
        figures.holds(
            f"{what} is whole", met=Digest.of(found) == self._digest, found="digest read back", goal="equal"
        )
        figures.add(f"{what}: cuts", self.cuts, ">=", CUTS if not self._forms else CUTS // 4)
        figures.add(f"{what}: bytes above its size", 100 * (self._crossed / size - 1), "<=", 5, unit=" %")
        figures.add(f"{what}: most lost by one cut", self._worst, "<=", CHUNK, unit=" bytes")
        self._cutter.close()

    def _have(self) -> int:
        digest = self._forms[0].digest if self._forms else self._digest
        partial = self._root / "candidates" / f"{digest.hex}.partial"
        return partial.stat().st_size if partial.is_file() else 0

    def _open(self) -> Device:
        connection = connection_of(self._host)
        connection = replace(
            connection, port=self._cutter.port, host_key_alias=f"[127.0.0.1]:{connection.port}"
        )
        return Device.open(
            self._host, ssh.connect(self._host, connection), model="resume", root=str(self._root)
        )


if __name__ == "__main__":
    main()
