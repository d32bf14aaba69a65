"""Encodings and their decoder: every pair of files comes back, hostile encodings end as a DeltaError or as other bytes, never out of bounds."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.agent import delta as decoder
from ota.deltas import encode
from ota.deltas.align import align
from ota.deltas.encode import delta, packed
from ota.deltas.layout import Layout, Numbers, layout_of
from tests.deltas.decoding import decoded

ROOT = Path(__file__).parent.parent.parent
PROOF = (ROOT / "ota" / "agent" / "proof.tflite").read_bytes()
MODELS = ROOT.parent / "shared" / "data" / "models"
INT8, FLOAT32 = MODELS / "model_int8_floatio.tflite", MODELS / "model_float32.tflite"
needs_models = pytest.mark.skipif(not INT8.is_file(), reason="the shared networks are not on this machine")


def changed(content: bytes, share: float, form: str = "i1") -> bytes:
    """Return a file some of whose numbers moved by one, as a fine-tuning moves them."""
    random = np.random.RandomState(7)
    width = np.dtype(form).itemsize
    lanes = np.frombuffer(content[: len(content) // width * width], form).copy()
    places = random.rand(len(lanes)) < share
    lanes[places] += random.choice(np.array([-1, 1], form), int(places.sum()))
    return lanes.tobytes() + content[len(lanes) * width :]


@given(content=st.binary(max_size=3000), base=st.binary(max_size=3000))
def test_any_pair_comes_back(content: bytes, base: bytes) -> None:
    """Whatever two files hold, and however long they are, the one comes back from its difference to the other, and from itself compressed."""
    assert decoded(delta(content, base), base, len(content)) == content
    assert decoded(packed(content), b"", len(content)) == content


@given(data=st.data(), base=st.binary(min_size=1, max_size=2000))
def test_edits_come_back(data: st.DataObject, base: bytes) -> None:
    """A file that was cut, grown or changed somewhere comes back."""
    start = data.draw(st.integers(0, len(base)))
    end = data.draw(st.integers(start, len(base)))
    content = base[:start] + data.draw(st.binary(max_size=200)) + base[end:]
    assert decoded(delta(content, base), base, len(content)) == content


@given(
    width=st.sampled_from([1, 2, 4]),
    count=st.integers(1, 5000),
    share=st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_every_form_of_a_plane_comes_back(width: int, count: int, share: float, seed: int) -> None:
    """Lanes of each width, changed seldom, often or all, small and great, come back."""
    random = np.random.RandomState(seed)
    base = random.normal(0, 0.1, count).astype("<f4").tobytes()[: count * width]
    lanes = np.frombuffer(base, f"<u{width}").copy()
    moved = random.rand(count) < share
    lanes[moved] += random.randint(0, 1 << random.randint(1, 8 * width), int(moved.sum())).astype(lanes.dtype)
    content = lanes.tobytes()
    numbers = Layout(numbers=(Numbers(0, len(content), "w", width),))
    pieces = align(content, numbers, base, numbers)
    assert [piece.width for piece in pieces] == [width]
    assert decoded(encode._encoded(content, base, pieces, ()), base, len(content)) == content


@pytest.mark.parametrize(
    "size", [decoder.BUFFER - 1, decoder.BUFFER, decoder.BUFFER + 1, 3 * decoder.BUFFER + 5]
)
@pytest.mark.parametrize("share", [0.00001, 0.02, 0.9])
def test_buffers_meet(size: int, share: float) -> None:
    """Differences on both sides of a buffer's end, and long stretches without one, come back."""
    base = np.random.RandomState(1).bytes(size)
    content = changed(base, share)
    assert decoded(delta(content, base), base, size) == content


@pytest.mark.parametrize(
    ("content", "base"), [(b"", b""), (b"", b"x"), (b"x", b""), (PROOF, PROOF), (PROOF, b"")]
)
def test_the_smallest(content: bytes, base: bytes) -> None:
    """Empty files, equal files and a base that is empty are no special case."""
    assert decoded(delta(content, base), base, len(content)) == content


def test_a_moved_tensor_is_found() -> None:
    """A tensor is compared with its counterpart, though what stands before it grew."""
    base, content = b"m" * 40 + bytes(range(200)), b"n" * 60 + bytes(range(200))
    pieces = align(
        content,
        Layout(numbers=(Numbers(60, 200, "w9", 1),)),
        base,
        Layout(numbers=(Numbers(40, 200, "w9", 1),)),
    )
    assert [(piece.start, piece.length, piece.base) for piece in pieces] == [(0, 60, None), (60, 200, 40)]


@needs_models
def test_a_fine_tuning_of_a_network_is_small() -> None:
    """Two hundredths of an int8 network's bytes moved by one cost less than a tenth of what xz makes of the file, and nothing costs more than the file."""
    base = INT8.read_bytes()
    content = changed(base, 0.02)
    made = delta(content, base)
    assert decoded(made, base, len(content)) == content
    assert len(made) < 0.03 * len(base)
    assert len(packed(base)) < 0.8 * len(base)


@needs_models
def test_scales_that_follow_are_not_sent() -> None:
    """The scales of biases are the products of others, and cost a few bytes an operator."""
    base = INT8.read_bytes()
    layout = layout_of(base)
    content = bytearray(base)
    for numbers in layout.numbers:
        if numbers.kind == "s":
            scales = np.frombuffer(base, "<f4", numbers.length // 4, numbers.start)
            content[numbers.start : numbers.start + numbers.length] = (scales * np.float32(1.01)).tobytes()
    for product in layout.products:
        (factor,) = struct.unpack_from("<f", content, product.factor)
        factors = np.frombuffer(bytes(content), "<f4", product.count, product.factors)
        lanes = (factors.astype(float) * factor).astype("<f4").tobytes()
        content[product.place : product.place + len(lanes)] = lanes
    made = delta(bytes(content), base)
    assert decoded(made, base, len(content)) == bytes(content)
    assert len(encode._true_products(bytes(content), layout)) == len(layout.products) > 20


@pytest.mark.parametrize("size", [1, 100, 5000, 400_000])
def test_noise_costs_no_more_than_a_hundredth(size: int) -> None:
    """What nothing can shorten costs the file and less than 1 % more, or a few words where it is tiny."""
    content, base = np.random.RandomState(3).bytes(size), np.random.RandomState(4).bytes(size)
    for made in (packed(content), delta(content, base)):
        assert len(made) <= max(1.01 * size, size + 40)


MADE = delta(changed(PROOF * 3, 0.05), PROOF * 3)
SIZE = 3 * len(PROOF)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_encoding_is_told_or_gives_other_bytes(data: st.DataObject) -> None:
    """An encoding with a bit turned or its end missing raises DeltaError or writes within the file; a changed base likewise."""
    broken = bytearray(MADE)
    place = data.draw(st.integers(0, len(broken) - 1))
    broken[place] ^= 1 << data.draw(st.integers(0, 7))
    for hostile, base in (
        (bytes(broken), PROOF * 3),
        (MADE[:place], PROOF * 3),
        (MADE, (PROOF * 3)[:place]),
        (data.draw(st.binary(max_size=200)), PROOF),
    ):
        with contextlib.suppress(decoder.DeltaError):
            assert len(decoded(hostile, base, SIZE)) == SIZE


def _script(*words: int, rest: bytes = b"") -> bytes:
    script = b"".join(encode._number(word) for word in words)
    head = encode._lzma(script)
    return encode.MAGIC + len(head).to_bytes(3, "little") + head + rest


ZEROS = encode._compressed(bytes(50_000_000), 0, 0)


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        (b"", "does not begin"),
        (b"OTD2" + bytes(40), "does not begin"),
        (b"OTD1\xff\xff\xff", "cut short"),
        (_script(11), "another size"),
        (_script(10, 1000), "too great"),
        (_script(10, 1, 3), "3 bytes is none"),
        (_script(10, 1, 1, 9), "form 9 is unknown"),
        (_script(10, 1, 1, 3, 2, 0, 0), "table of classes is damaged"),
        (_script(10, 1, 1, 3, 2, 256, 2), "table of classes is damaged"),
        (_script(10, 0, 1, 0, 11, 0), "too great"),
        (_script(10, 0, 1, 0, 0, 0), "0 bytes is none"),
        (_script(10, 1, 2, 0, 0, 1, 1, 3, 0), "3 bytes is none"),
        (_script(10, 0, 1, 0, 10, 2), "before the base"),
        (_script(10, 0, 1, 0, 9, 0, 0), "of 9 bytes, the file of 10"),
        (_script(10, 0, 1, 0, 10, 0, 1, 8, 1, 0), "outside the file"),
        (_script(10, 0, 1, 0, 10, 0, 1, 0, 1, 0), "script is cut short"),
        (_script(10, 1, 1, 1, 1 << 39, 1, 1, 10, 0, 0), "cut short"),
        (_script(10, *([60] * 61)), "none|too great"),
        (encode.MAGIC + len(ZEROS).to_bytes(3, "little") + ZEROS, "longer than 1048576"),
    ],
)
def test_absurd_headers_are_refused(hostile: bytes, says: str) -> None:
    """A header that promises what cannot be is refused with what is wrong."""
    with pytest.raises(decoder.DeltaError, match=says):
        decoded(hostile, b"", 10)


def test_a_bomb_ends_at_the_size() -> None:
    """A section of fifty million zeros gives the ten bytes that were asked for, in the memory of a few buffers."""
    bomb = _script(10, 1, 1, 1, len(ZEROS), 1, 1, 10, 0, 0, rest=ZEROS)
    tracemalloc.start()
    assert decoded(bomb, b"", 10) == bytes(10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_memory_is_a_few_buffers() -> None:
    """A file of sixteen million bytes is decoded in the memory of a few buffers, not of the file."""
    base = bytes(16 << 20)
    made = delta(changed(base, 0.001), base)
    tracemalloc.start()
    decoder.decode(
        lambda count, place: made[place : place + count],
        lambda count, _: bytes(count),
        len(base),
        lambda _data, _place: None,
        lambda count, _: bytes(count),
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_both_ends_have_the_same_numbers() -> None:
    """The encoder's dictionary is the decoder's, and so is the word that an encoding begins with."""
    assert (encode.MAGIC, encode.DICTIONARY) == (decoder.MAGIC, decoder.DICTIONARY)


OLD = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.7.*/bin/python3.7"))
PYTHON_37 = str(OLD[0]) if OLD else shutil.which("python3.7")


@pytest.mark.skipif(PYTHON_37 is None, reason="no Python 3.7 on this machine")
def test_python_3_7_decodes(tmp_path: Path) -> None:
    """The oldest Python that a device may have makes the file, with nothing but its standard library."""
    base = np.random.RandomState(5).normal(0, 0.1, 200_000).astype("<f4").tobytes()
    content = changed(base, 0.3, "<i4")
    (tmp_path / "base").write_bytes(base)
    numbers = Layout(numbers=(Numbers(0, len(base), "w0", 4),))
    pieces = align(content, numbers, base, numbers)
    (tmp_path / "encoded").write_bytes(encode._encoded(content, base, pieces, ()))
    shutil.copy(decoder.__file__, tmp_path / "delta.py")
    code = (
        "import delta, sys\n"
        "encoded, base, made = open('encoded', 'rb').read(), open('base', 'rb').read(), open('made', 'wb')\n"
        "def write(data, place): made.seek(place); made.write(data)\n"
        "delta.decode(lambda c, p: encoded[p:p + c], lambda c, p: base[p:p + c], len(base), write, None)\n"
        "print(sys.version_info[:2])\n"
    )
    assert PYTHON_37 is not None
    done = subprocess.run([PYTHON_37, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(3, 7)\n", "")
    assert (tmp_path / "made").read_bytes() == content


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 200_000])
def test_noise_is_stored_as_the_format_has_it(size: int) -> None:
    """What is kept as it is comes back through the standard library's own decoder, and costs three bytes a chunk and one more."""
    noise = os.urandom(size)
    stored = encode._stored(noise)
    way = {"id": lzma.FILTER_LZMA2, "dict_size": encode.DICTIONARY}
    assert lzma.decompress(stored, lzma.FORMAT_RAW, filters=[way]) == noise
    assert len(stored) == size + 3 * -(-size // 65_536) + 1
