"""The encodings of the store's files: made once, by the nearest base that is whole, and none where the store refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from ota.core.release import Digest
from ota.deltas.encodings import Encodings
from ota.store import Store
from tests.deltas.decoding import decoded
from tests.deltas.test_encode import changed

FIRST = np.random.RandomState(1).normal(0, 30, 100_000).astype("i1").tobytes()
OTHER = np.random.RandomState(2).normal(0, 30, 100_000).astype("i1").tobytes()
SECOND = changed(FIRST, 0.02)


def test_the_nearest_base_is_taken_and_nothing_is_made_twice(tmp_path: Path) -> None:
    """Of two bases the one with the fewest differences is taken; the second time the same file of the store is returned."""
    with Store.open(tmp_path) as store:
        first, other, second = (store.put_blob(content) for content in (FIRST, OTHER, SECOND))
        encodings = Encodings(store.blob, store)
        (form,) = encodings(second, [other, first])
        assert form.base == first
        assert form.size_bytes < len(SECOND) / 20
        assert decoded(Path(form.path).read_bytes(), FIRST, len(SECOND)) == SECOND
        before = Path(form.path).stat()
        assert encodings(second, [first]) == (form,)
        assert Path(form.path).stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_near_base_the_file_is_compressed_too(tmp_path: Path) -> None:
    """Where the difference spares little, the compressed file is offered beside it; what is no shorter than the file is not."""
    with Store.open(tmp_path) as store:
        first, other, noise = (
            store.put_blob(content) for content in (FIRST, OTHER, np.random.RandomState(3).bytes(5000))
        )
        encodings = Encodings(store.blob, store)
        assert {form.base for form in encodings(first, [other])} >= {None}
        assert [form.base for form in encodings(first, [])] == [None]
        assert encodings(noise, []) == ()


def test_a_base_that_is_gone_or_changed_is_none(tmp_path: Path) -> None:
    """A base that the store lost, or whose bytes are not its digest's, is left out."""
    with Store.open(tmp_path) as store:
        first, second = store.put_blob(FIRST), store.put_blob(SECOND)
        store.blob(first).write_bytes(b"changed")
        forms = Encodings(store.blob, store)(second, [first, Digest.of(b"never seen")])
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


def test_a_store_that_takes_nothing_costs_only_bytes(tmp_path: Path) -> None:
    """Where no encoding can be kept there is none, and the whole file is sent."""
    with Store.open(tmp_path) as store:
        second = store.put_blob(SECOND)
        assert Encodings(store.blob, Full())(second, []) == ()


def test_no_numpy_without_an_encoding() -> None:
    """What a deployment imports loads no NumPy: an up-to-date fleet needs none."""
    code = "import sys, ota.deltas.encodings, ota.workflows.staging; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
