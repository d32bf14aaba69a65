"""In which form a file crosses to a device: as it is, as a difference to one that the device holds, or compressed; decided by sizes, the link, and what the making of a form costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ota.core.release import Digest

WINDOW_BYTES = 48 * 1024
"""A link that nobody has measured yet is taken to carry so much in a round trip: 1 Mbit/s at 300 ms carry a little less, 10 Mbit/s at 50 ms a little more."""
NEAR_BYTES_PER_S = 10e6
"""And no more than that, however near: 80 Mbit/s."""
FAR_S = 0.3
"""The round trip of a link of which not even that is known."""
SHORT_S = 0.5
"""A file that crosses so soon is sent as it is: decoding another form takes about as long."""
DECODED_BYTES_PER_S = 3e6
"""What a Raspberry Pi decodes, a fifth of what was measured on a desktop."""
ENCODED_BYTES_PER_S = 4e6
"""What a controller encodes with one processor, of bytes that are no noise and that nearly all differ."""
TELLING_BYTES = 256 * 1024
"""A transfer of so many bytes tells how fast the link is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A form of a file: its bytes at `path`, and the file that the device must hold for it, None where it needs none."""

    path: PurePath
    digest: Digest
    size_bytes: int
    base: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What a form will be that is not made yet: about its size, and how many bytes the coder has to go through for it, those that cost it more counted more."""

    size_bytes: int
    work_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A transfer that was timed, and how many hosts others went to from this controller meanwhile, on average, its own one of them."""

    size_bytes: int
    seconds: float
    sharers: float = 1.0

    def bytes_per_s(self, sharers: int) -> float:
        """Return what the link may carry while so many share the way: where more did then, the way may have been what was narrow, and each has more of it now."""
        return self.size_bytes / max(self.seconds, 1e-6) * max(1.0, self.sharers / sharers)


def crossed_s(seconds: float, size_bytes: int) -> float:
    """Return about how many of the seconds that a form of a file of `size_bytes` took were the link's; the others went into decoding it."""
    return max(seconds / 2, seconds - size_bytes / DECODED_BYTES_PER_S)


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
        round_trip_s = FAR_S if self.round_trip_s is None else self.round_trip_s
        return min(NEAR_BYTES_PER_S, WINDOW_BYTES / max(round_trip_s, 1e-6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A file on its way to a device, and to others after it: `turns` is how many times over hosts wait for it, those at once counted once."""

    size_bytes: int
    link: Link
    turns: int = 1

    def worth_a_thought(self) -> bool:
        """Say whether another form than the file itself can bring it sooner at all."""
        return self.size_bytes / self.link.speed > SHORT_S

    def worth_making(self, form: Foretold, instead_of: int) -> bool:
        """Say whether a form that is not made yet spares the hosts more time than its making takes, beside one of `instead_of` bytes that is there.

        All wait for it once; each turn gains what it is shorter by, less its decoding.
        """
        gained = (instead_of - form.size_bytes) / self.link.speed
        if instead_of == self.size_bytes:
            gained -= self._decoding_s
        return self.turns * gained > form.work_bytes / ENCODED_BYTES_PER_S

    def preferred(self, forms: Sequence[Encoding]) -> tuple[Encoding, ...]:
        """Return the forms that bring the file sooner than the file itself, decoding included, the soonest first."""
        speed, size = self.link.speed, self.size_bytes
        sooner = [form for form in forms if form.size_bytes / speed + self._decoding_s < size / speed]
        return tuple(sorted(sooner, key=lambda form: form.size_bytes))

    @property
    def _decoding_s(self) -> float:
        return self.size_bytes / DECODED_BYTES_PER_S
