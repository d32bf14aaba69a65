"""What a device says of itself before work starts, and of the releases it holds."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.journal_head import JournalState
from ota.core.release import Digest
from ota.core.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A TFLite/LiteRT runtime installed under the device's ota_root and proven by building an Interpreter.

    `id` names its folder (`<package>-<version>-cp<xy>`); `python` is the absolute interpreter that loads it. `wheel_sha256`, in hex, is of the wheel
    that it was installed from, empty where nobody noted that.
    """

    id: str
    package: str
    version: str
    python: str
    wheel_sha256: str = ""

    @property
    def label(self) -> str:
        """What tables show, such as `ai-edge-litert 2.3.0`."""
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A device's facts; `boot_id` tells machines apart: hosts with the same one share processors.

    Those with a default are for the record alone: nothing is decided by them, and what a board does not tell is empty.
    """

    boot_id: str
    architecture: str
    python: tuple[int, int, int]
    python_executable: str
    python_bits: int
    libc: str
    """Such as `glibc 2.36` or `musl`."""
    system_numpy: str
    """The version of the numpy that the device's own Python imports, empty where there is none."""
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int
    """On the file system that holds `root`."""
    cpu_model: str
    cpu_count: int
    os: str
    kernel: str
    hostname: str
    root: str
    """The absolute ota_root on the device."""
    runtimes: tuple[Runtime, ...]
    board_revision: str = ""
    """The board's revision code in hex, such as `c03111`."""
    serial_sha256: str = ""
    """SHA-256 in hex of the board's serial number, which itself never leaves the device: it tells boards apart, it keeps no secret."""
    firmware: str = ""
    """The firmware's own word for its version."""
    cpu_features: tuple[str, ...] = ()
    """What every processor of the machine has, sorted."""
    affinity: tuple[int, ...] = ()
    """The processors that the agent and its benchmark processes may run on, ascending."""
    clock_limits_khz: tuple[tuple[int, int], ...] = ()
    """The least and the highest clock in kHz of each cpufreq policy."""
    clock_source: str = ""
    """What times inferences: Python's clock, then the kernel's source of time behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRelease:
    """A release on the device; `intact` says whether its files were read back equal to its manifest, None: they were not read, and `model_digest` is the manifest's.

    `setting` is how it was measured and is to be run, None where its manifest does not say.
    """

    id: str
    model_digest: Digest | None
    intact: bool | None
    setting: Setting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """A return that the device made by itself: from `release` to the release `to`, None where there was none before, and why."""

    release: str
    to: str | None
    why: str

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        return f"went back by itself from {self.release} to {self.to or 'no release'}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a device found when it verified its release's signatures and its journal.

    `unsigned` says why the current release's signatures are not good, empty where they are or no keyring asks for any.
    """

    unsigned: str
    journal: JournalState


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """The releases on a device; `current`, `previous` and `pending` are release ids or None.

    `current_digest` is of the bytes behind `current/model.tflite`, read back now. `pending` is an activation that nobody has
    confirmed yet. `rolled_back_from` is set when the last thing that happened was a return to an earlier release. `reverted` is set when the last thing that happened was that the
    device went back by itself.
    """

    model: str | None
    current: str | None
    previous: str | None
    pending: str | None
    current_digest: Digest | None
    rolled_back_from: str | None
    releases: tuple[HeldRelease, ...]
    disk_free_bytes: int
    reverted: Reverted | None = None
    keyring: int = 0
    """The version of the keyring whose keys have to sign a release, 0 where there is none."""

    def held(self, release_id: str | None) -> HeldRelease | None:
        """Return a release that is on the device, None where it is not."""
        return next((held for held in self.releases if held.id == release_id), None)

    @property
    def setting(self) -> Setting | None:
        """How the current release was measured and is to be run, None where its manifest does not say."""
        current = self.held(self.current)
        return current.setting if current else None
