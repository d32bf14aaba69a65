"""In which form a file crosses to a device: as it is, as a difference to one that the device holds, or compressed; decided by sizes and the link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ota.core.release import Digest

FAR_S = 0.02
"""A round trip that takes so long crosses more than a local network."""
NEAR_BYTES_PER_S, FAR_BYTES_PER_S = 10e6, 125e3
"""What a link is taken for that nobody has measured yet: 80 Mbit/s near by, 1 Mbit/s far away."""
SHORT_S = 0.5
"""A file that crosses so soon is sent as it is: making and decoding another form takes about as long."""
DECODED_BYTES_PER_S = 3e6
"""What a Raspberry Pi decodes, a fifth of what was measured on a desktop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A form of a file: its bytes at `path`, and the file that the device must hold for it, None where it needs none."""

    path: PurePath
    digest: Digest
    size_bytes: int
    base: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What is known of the link to a device; None: nothing yet."""

    round_trip_s: float | None = None
    bytes_per_s: float | None = None

    @property
    def speed(self) -> float:
        """Bytes a second, as measured, else as the round trip suggests."""
        if self.bytes_per_s is not None:
            return self.bytes_per_s
        near = self.round_trip_s is not None and self.round_trip_s < FAR_S
        return NEAR_BYTES_PER_S if near else FAR_BYTES_PER_S


def worth_encoding(size_bytes: int, link: Link) -> bool:
    """Say whether it can pay to make other forms of a file of that size at all."""
    return size_bytes / link.speed > SHORT_S


def preferred(size_bytes: int, forms: Sequence[Encoding], link: Link) -> tuple[Encoding, ...]:
    """Return the forms that bring a file sooner than the file itself, decoding included, the soonest first."""
    decoding_s = size_bytes / DECODED_BYTES_PER_S
    sooner = [form for form in forms if form.size_bytes / link.speed + decoding_s < size_bytes / link.speed]
    return tuple(sorted(sooner, key=lambda form: form.size_bytes))
