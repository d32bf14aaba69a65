"""What turns encodings back: the agent's decoder over bytes in memory."""

from __future__ import annotations

from ota.agent import delta as decoder


def decoded(encoded: bytes, base: bytes, size: int) -> bytes:
    """Return the file that an encoding stands for; every write must lie within it."""
    made = bytearray(size)

    def write(data: bytes, place: int) -> None:
        assert place >= 0
        assert place + len(data) <= size
        made[place : place + len(data)] = data

    decoder.decode(
        lambda count, place: encoded[place : place + count],
        lambda count, place: base[place : place + count],
        size,
        write,
        lambda count, place: bytes(made[place : place + count]),
    )
    return bytes(made)
