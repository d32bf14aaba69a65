"""The encodings of the store's files: made once, by the nearest base that is whole, only where that pays, and none where the store refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ota.core.release import Digest
from ota.core.wire import Crossing, Link
from ota.deltas.encode import delta, foretold, packed
from ota.deltas.encodings import Encodings
from ota.store import Store
from tests.agent.networks import dense
from tests.deltas.decoding import decoded
from tests.deltas.test_encode import FLOAT32, INT8, changed, needs_models

FIRST = np.random.RandomState(1).normal(0, 30, 100_000).astype("i1").tobytes()
OTHER = np.random.RandomState(2).normal(0, 30, 100_000).astype("i1").tobytes()
NOISE = np.random.RandomState(3).bytes(200_000)
SECOND = changed(FIRST, 0.02)
SLOW, FAST = 10e3, 2e6


def way(speed: float = SLOW, size: int = len(FIRST), turns: int = 1) -> Crossing:
    """Return the way of a file over a link of so many bytes a second."""
    return Crossing(size_bytes=size, link=Link(bytes_per_s=speed), turns=turns)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open a store of its own."""
    with Store.open(tmp_path) as opened:
        yield opened


class Counting:
    """A store that counts what is put there; `gate` is waited for before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.puts: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.gate.set()

    def get(self, key: str) -> Path | None:
        """Return what is kept."""
        return self._store.get(key)

    def put(self, key: str, content: bytes) -> Path:
        """Keep it."""
        self.begun.set()
        assert self.gate.wait(20)
        self.puts.append(key)
        return self._store.put(key, content)


def test_the_nearest_base_is_taken_and_nothing_is_made_twice(store: Store) -> None:
    """Of two bases the one with the fewest differences is taken; the second time, by another command too, the same file of the store is returned."""
    first, other, second = (store.put_blob(content) for content in (FIRST, OTHER, SECOND))
    kept = Counting(store)
    (form,) = Encodings(store.blob, kept)(second, [other, first], way())
    assert form.base == first
    assert form.size_bytes < len(SECOND) / 20
    assert decoded(Path(form.path).read_bytes(), FIRST, len(SECOND)) == SECOND
    again = Encodings(store.blob, kept)
    assert again(second, [first], way()) == again(second, [first], way(1e3)) == (form,)
    assert len(kept.puts) == 1


def test_a_form_that_is_there_is_offered_where_none_would_be_made(store: Store) -> None:
    """What was made for a slow link costs a faster one nothing."""
    first, second = store.put_blob(FIRST), store.put_blob(SECOND)
    kept = Counting(store)
    encodings = Encodings(store.blob, kept)
    assert encodings(second, [first], way(FAST)) == ()
    (form,) = encodings(second, [first], way())
    assert encodings(second, [first], way(FAST)) == (form,)
    assert len(kept.puts) == 1


def test_without_a_near_base_the_file_is_compressed(store: Store) -> None:
    """Where the difference spares less, the compressed file is made instead; a difference is still made where a near base comes later."""
    first, other, second = (store.put_blob(content) for content in (FIRST, OTHER, SECOND))
    encodings = Encodings(store.blob, store)
    assert [form.base for form in encodings(second, [other], way())] == [None]
    assert {form.base for form in encodings(second, [first], way())} == {None, first}
    assert [form.base for form in encodings(first, [], way())] == [None]


def test_noise_is_not_encoded_to_find_that_out(store: Store) -> None:
    """A look at a file that no form makes shorter says so, for however many hosts and however slow they are."""
    noise, other = store.put_blob(NOISE), store.put_blob(NOISE[::-1])
    kept = Counting(store)
    encodings = Encodings(store.blob, kept)
    assert encodings(noise, [other], way(1e3, len(NOISE), turns=1000)) == ()
    assert kept.puts == []


def test_what_spares_one_host_too_little_is_made_for_many(store: Store) -> None:
    """Compressing spares a fifth: too little for one host at that speed, enough for a hundred that wait one after the other."""
    first = store.put_blob(FIRST)
    encodings = Encodings(store.blob, store)
    assert encodings(first, [], way(300e3)) == ()
    assert encodings(first, [], way(300e3, turns=100)) != ()


def test_a_near_host_does_not_wait_for_a_form_of_others(store: Store) -> None:
    """While a difference is made for slow links, once, a fast one has its answer."""
    first, second = store.put_blob(FIRST), store.put_blob(SECOND)
    kept = Counting(store)
    kept.gate.clear()
    encodings = Encodings(store.blob, kept)
    made: list[object] = []
    slow = [threading.Thread(target=lambda: made.append(encodings(second, [first], way()))) for _ in range(2)]
    for thread in slow:
        thread.start()
    assert kept.begun.wait(20)
    assert encodings(second, [first], way(FAST)) == ()
    assert made == []
    kept.gate.set()
    for thread in slow:
        thread.join()
    assert made[0] == made[1] != ()
    assert len(kept.puts) == 1


@pytest.mark.parametrize(
    ("content", "base"),
    [
        pytest.param(FIRST, None, id="bytes"),
        pytest.param(SECOND, FIRST, id="bytes moved a little"),
        pytest.param(NOISE, NOISE[::-1], id="noise"),
        pytest.param(dense(np.random.RandomState(4).normal(0, 1, (50_000, 2)).tolist()), None, id="a network of floats"),
        pytest.param(b"abcdefgh" * 30_000, None, id="repeats"),
    ],
)  # fmt: skip
def test_what_is_foretold_comes_about(content: bytes, base: bytes | None) -> None:
    """A foretold size is within a tenth of the made one, or of a hundredth of the file."""
    made = packed(content) if base is None else delta(content, base)
    assert foretold(content, base).size_bytes == pytest.approx(
        len(made), rel=0.1, abs=max(300, len(content) // 100)
    )


@needs_models
def test_what_is_foretold_of_real_networks_comes_about() -> None:
    """So it is for the shared networks, and one that is the same has no work."""
    for path in (INT8, FLOAT32):
        content = path.read_bytes()
        assert foretold(content, None).size_bytes == pytest.approx(len(packed(content)), rel=0.05)
        assert foretold(content, content).work_bytes < len(content) / 100


def test_a_base_that_is_gone_or_changed_is_none(store: Store) -> None:
    """A base that the store lost, or whose bytes are not its digest's, is left out."""
    first, second = store.put_blob(FIRST), store.put_blob(SECOND)
    store.blob(first).write_bytes(b"changed")
    forms = Encodings(store.blob, store)(second, [first, Digest.of(b"never seen")], way())
    assert [form.base for form in forms] == [None]


class Full:
    """A store whose disk is full."""

    def get(self, key: str) -> Path | None:
        """Find nothing."""
        del key

    def put(self, key: str, content: bytes) -> Path:
        """Refuse."""
        del key, content
        raise OSError(28, "No space left on device")


def test_a_store_that_takes_nothing_costs_only_bytes(store: Store) -> None:
    """Where no encoding can be kept there is none, and the whole file is sent."""
    second = store.put_blob(SECOND)
    assert Encodings(store.blob, Full())(second, [], way()) == ()


def test_no_numpy_without_an_encoding(tmp_path: Path) -> None:
    """What a deployment imports loads no NumPy, and neither does the question for a form that cannot pay: a near fleet needs none."""
    code = (
        "import sys, ota.deltas.encodings, ota.workflows.staging\n"
        "from ota.core.wire import Crossing, Link\n"
        "from ota.store import Store\n"
        f"with Store.open(__import__('pathlib').Path({str(tmp_path)!r})) as store:\n"
        "    digest = store.put_blob(b'x' * 1000)\n"
        "    near = Crossing(size_bytes=1000, link=Link(bytes_per_s=10e6))\n"
        "    assert ota.deltas.encodings.Encodings(store.blob, store)(digest, [], near) == ()\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
