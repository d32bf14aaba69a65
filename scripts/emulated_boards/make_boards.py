"""Put the runtimes' wheels beside the unpacked systems, and write one program for each core and runtime.

Layout under FOLDER, which holds `arm64`, `amd64` (systems with Python 3.11) and `qemu` already:

    wheels/                     as downloaded; the shell script removes them
    runtimes/ARCH/RUNTIME/      a virtual environment of the unpacked Python, so that the runtime imports under `-I` too
    cores/CORE/                 the unpacked ARM system again, through links, with the processor files of a board that has that core
    boards/CORE/RUNTIME/python  the program to start; boards/x86_64/RUNTIME/python runs the x86_64 wheels without an emulator

The wheels are those that `ota provision` would bring to a Raspberry Pi with Debian 12. What a process started there executes must not be
ARM code again: a child that is forked works, one that is executed does not.
"""

from __future__ import annotations

import shlex
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ota.core.facts import Facts
from ota.core.runtime import RuntimeChoice, Unsupported, choose_runtimes
from ota.wheels import fetch

PACKAGES = ("ai-edge-litert", "tflite-runtime")
SYSTEMS = {"aarch64": "arm64", "x86_64": "amd64"}
_OLD_CORE = "fp asimd evtstrm crc32 cpuid"
_NEW_CORE = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A processor core as the kernel of a board with four of them describes it."""

    name: str
    board: str
    part: str
    variant: int
    revision: int
    features: str

    def cpuinfo(self) -> str:
        """Return /proc/cpuinfo: without it the runtime reads this machine's and ends with a segmentation fault."""
        return "\n".join(
            f"processor\t: {index}\nBogoMIPS\t: 108.00\nFeatures\t: {self.features}\n"
            f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: {self.variant:#x}\n"
            f"CPU part\t: {self.part}\nCPU revision\t: {self.revision}\n"
            for index in range(4)
        )


CORES = (
    Core(
        name="cortex-a53",
        board="Raspberry Pi 3 Model B Rev 1.2",
        part="0xd03",
        variant=0,
        revision=4,
        features=_OLD_CORE,
    ),
    Core(
        name="cortex-a72",
        board="Raspberry Pi 4 Model B Rev 1.4",
        part="0xd08",
        variant=0,
        revision=3,
        features=_OLD_CORE,
    ),
    Core(
        name="cortex-a76",
        board="Raspberry Pi 5 Model B Rev 1.0",
        part="0xd0b",
        variant=4,
        revision=1,
        features=_NEW_CORE,
    ),
)


def choose(package: str, architecture: str) -> RuntimeChoice:
    """Return what a device with Debian 12 of that architecture gets where its inventory names `package`."""
    facts = Facts(
        boot_id="", architecture=architecture, python=(3, 11, 2), python_executable="", python_bits=64,
        libc="glibc 2.36", system_numpy="", memory_total_bytes=0, memory_available_bytes=0, disk_free_bytes=0,
        cpu_model="", cpu_count=4, os="", kernel="", hostname="", root="", runtimes=(),
    )  # fmt: skip
    choices = choose_runtimes(facts, (package,))
    if isinstance(choices, Unsupported):
        raise SystemExit(choices.reason)
    return choices[0]


def make_runtime(folder: Path, choice: RuntimeChoice) -> Path:
    """Unpack a runtime's wheels into a virtual environment of the unpacked system; return its interpreter's path."""
    system = folder / SYSTEMS[choice.architecture] / "usr" / "bin"
    environment = folder / "runtimes" / choice.architecture / f"{choice.package}-{choice.version}"
    packages = environment / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    for wheel in fetch(choice, folder / "wheels"):
        if not wheel.filename.startswith("pip-"):
            with zipfile.ZipFile(wheel.path) as archive:
                archive.extractall(packages)
    (environment / "pyvenv.cfg").write_text(f"home = {system}\ninclude-system-site-packages = false\n")
    python = environment / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(system / "python3.11")
    return python


def make_core(folder: Path, core: Core) -> Path:
    """Make the folder that programs emulated as `core` see in front of this machine's `/`."""
    root = folder / "cores" / core.name
    processors = root / "sys" / "devices" / "system" / "cpu"
    processors.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (processors / name).write_text("0-3\n")
    tree = root / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_text(f"{core.board}\0")
    (root / "proc" / "cpuinfo").write_text(core.cpuinfo())
    for entry in (folder / "arm64").iterdir():
        (root / entry.name).symlink_to(entry)
    return root


def write_program(folder: Path, board: str, runtime: str, *command: Path | str) -> None:
    """Write boards/BOARD/RUNTIME/python, which carries on as `command` with its own arguments behind."""
    path = folder / "boards" / board / runtime / "python"
    path.parent.mkdir(parents=True)
    words = " ".join(shlex.quote(str(word)) for word in command)
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)


def main(folder: Path) -> None:
    """Make all boards in a folder that the shell script has prepared."""
    roots = {core.name: make_core(folder, core) for core in CORES}
    for package in PACKAGES:
        choice = choose(package, "aarch64")
        runtime = f"{choice.package}-{choice.version}"
        python = make_runtime(folder, choice)
        for core, root in roots.items():
            emulator = folder / "qemu" / "qemu-aarch64-static"
            write_program(folder, core, runtime, emulator, "-cpu", core, "-L", root, python)
        python = make_runtime(folder, choose(package, "x86_64"))
        libraries = folder / "amd64" / "usr" / "lib" / "x86_64-linux-gnu"
        loader = libraries / "ld-linux-x86-64.so.2"
        write_program(
            folder, "x86_64", runtime, loader, "--library-path", libraries, "--argv0", python, python
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
