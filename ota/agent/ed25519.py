"""Ed25519 verification in pure Python, for boards that bring no `ssh-keygen`: RFC 8032, section 5.1.7, without the cofactor, as OpenSSH does it.

Invariants: one signature has one form (S below L, points in canonical form); keys of small order are none. Only public values pass here, so time
may depend on them.
"""

from __future__ import annotations

import hashlib
from typing import List, Optional, Tuple

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
_ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)

# Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, x*y = T/Z.
Point = Tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether 64 bytes are the signature of `message` by the key of 32 bytes."""
    key = sound_key(public)
    if key is None or not sound_signature(signature):
        return False
    s = int.from_bytes(signature[32:], "little")
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    h = int.from_bytes(hashed, "little") % L
    # R = [S]B - [h]A, compared as bytes, so that another form of R is refused too.
    return _encode(_sum_of_multiples(s, BASE, h, _negative(key))) == signature[:32]


def sound_key(public: bytes) -> Optional[Point]:
    """Return the point of a public key; None where it is not in canonical form, not on the curve or of small order."""
    point = _decode(public)
    if point is None:
        return None
    eightfold = point
    for _ in range(3):
        eightfold = _double(eightfold)
    return None if eightfold[0] % P == 0 else point


def sound_signature(signature: bytes) -> bool:
    """Say whether 64 bytes have the form of a signature: R is a point in canonical form and S is below L."""
    return (
        len(signature) == 64
        and int.from_bytes(signature[32:], "little") < L
        and _decode(signature[:32]) is not None
    )


def _decode(text: bytes) -> Optional[Point]:
    """Return the point that 32 bytes stand for (RFC 8032, section 5.1.3), None where they stand for none."""
    if len(text) != 32:
        return None
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * _ROOT_OF_MINUS_ONE % P
    if (v * x * x - u) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def _encode(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _double(p: Point) -> Point:
    a, b, c = p[0] * p[0] % P, p[1] * p[1] % P, 2 * p[2] * p[2] % P
    h = a + b
    e, g = h - (p[0] + p[1]) ** 2 % P, a - b
    f = c + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _negative(p: Point) -> Point:
    return (P - p[0], p[1], p[2], P - p[3])


def _sum_of_multiples(s: int, p: Point, h: int, q: Point) -> Point:
    """Return [s]p + [h]q, two bits of both factors at a time."""
    rows = [NEUTRAL, p, _double(p), _add(_double(p), p)]
    table: List[Point] = []
    for multiple in (NEUTRAL, q, _double(q), _add(_double(q), q)):
        table += [_add(row, multiple) for row in rows]
    total = NEUTRAL
    for shift in range(max(s.bit_length(), h.bit_length()) // 2 * 2, -1, -2):
        total = _double(_double(total))
        which = (s >> shift & 3) | (h >> shift & 3) << 2
        if which:
            total = _add(total, table[which])
    return total


BASE = _decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or NEUTRAL
