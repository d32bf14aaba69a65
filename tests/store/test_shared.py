"""A store that several controllers share, in a folder and on a real S3-compatible server: what one publishes another finds, and what is damaged never counts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ota.core.release import Digest
from ota.core.selection import Selection
from ota.errors import MissingFileError, UsageError
from ota.store import Store
from ota.store.known_answer import KnownAnswer
from ota.store.shared import SharedStore
from tests.report.boards import a_log, a_selection

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed here")
PLAY, MODEL = "sort waste", "waste-sorter"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """An S3-compatible server on this machine; its address."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed here")
    pytest.importorskip("s3fs", reason="s3fs is not installed here")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty shared store."""
    if request.param == "folder":
        return str(tmp_path / "shared")
    endpoint = request.getfixturevalue("s3_server")
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket = f"bucket-{tmp_path.name.replace('_', '-').lower()[:40].strip('-')}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/models"


@dataclass
class Controller:
    """A controller with a store of its own and what it was warned of."""

    store: Store
    warned: list[str]
    address: str

    @classmethod
    def at(cls, folder: Path, address: str) -> Controller:
        """Open the store of a controller that shares one."""
        controller = cls(Store.open(folder / ".ota"), [], address)
        controller.see(address)
        return controller

    def see(self, address: str) -> None:
        """Look at the shared store as the next run does."""
        self.store.share(SharedStore.open(address, self.warned.append), play=PLAY, model=MODEL)

    def selects(self, identity: str) -> Selection:
        """Keep and publish a selection with a log and the outputs that it refers to."""
        log = a_log()
        candidate = self.store.put_blob(b"a candidate")
        log = replace(
            log,
            candidates=(replace(log.candidates[0], digest=candidate), *log.candidates[1:]),
            targets=self.store.put_blob(b"targets"),
        )
        outputs, probe = self.store.put_blob(b"outputs"), self.store.put_blob(b"probe")
        known = KnownAnswer(host="pi-1", runtime="ai-edge-litert 2.3.0", probe=probe, outputs=outputs)
        self.store.put_answer(candidate, known)
        made = replace(a_selection(), id=identity, created=f"2026-01-{identity[6:8]}T00:00:00+00:00")
        made = replace(made, log=self.store.put_log(log))
        self.store.save_selection(made)
        self.store.publish(made)
        return made


@pytest.fixture
def controllers(address: str, tmp_path: Path) -> Iterator[Callable[[str], Controller]]:
    """Return a controller by name; all share one store."""
    made: dict[str, Controller] = {}

    def controller(name: str) -> Controller:
        if name not in made:
            made[name] = Controller.at(tmp_path / name, address)
        return made[name]

    yield controller
    for one in made.values():
        one.store.__exit__(None, None, None)


def test_a_selection_of_a_colleague_is_found_with_all_that_belongs_to_it(
    controllers: Callable[[str], Controller],
) -> None:
    """The record to the byte, the log, blobs when they are asked for, what was answered; another play's is not seen."""
    ann, bob = controllers("ann"), controllers("bob")
    made = ann.selects("20260102-101500-abcdef")
    assert bob.store.latest_selection(PLAY, MODEL) == made
    assert bob.store.signed.record(made.id) == ann.store.signed.record(made.id)
    assert bob.store.sample_log(made.log) == ann.store.sample_log(made.log)
    assert bob.store.blob(Digest.of(b"targets")).read_bytes() == b"targets"
    (candidate,) = {one.digest for one in bob.store.sample_log(made.log).candidates} & {
        Digest.of(b"a candidate")
    }
    assert bob.store.answers(candidate) == ann.store.answers(candidate)
    assert bob.store.blob(Digest.of(b"outputs")).read_bytes() == b"outputs"
    assert bob.store.latest_selection("another play", MODEL) is None
    assert (ann.warned, bob.warned) == ([], [])


def test_the_newest_selection_counts_wherever_it_was_made(controllers: Callable[[str], Controller]) -> None:
    """One's own where it is newer, the colleague's where that is; any by the beginning of its id."""
    ann, bob = controllers("ann"), controllers("bob")
    first = ann.selects("20260102-101500-abcdef")
    second = bob.selects("20260103-101500-abcdef")
    assert ann.store.latest_selection(PLAY, MODEL) == second
    assert bob.store.latest_selection(PLAY, MODEL) == second
    assert bob.store.selection("20260102") == first
    with pytest.raises(UsageError, match="no selection has the id 20260109"):
        bob.store.selection("20260109")


def test_a_candidate_is_made_once_for_all(controllers: Callable[[str], Controller]) -> None:
    """What one controller converted another takes, by its key; what nobody made is made."""
    ann, bob = controllers("ann"), controllers("bob")
    ann.store.put("int8 of this network", b"....TFL3 int8")
    found = bob.store.get("int8 of this network")
    assert found is not None
    assert found.read_bytes() == b"....TFL3 int8"
    assert bob.store.get("int8 of another network") is None
    bob.store.share(None)
    assert bob.store.get("int8 of this network") == found


def damage(address: str, part: str, content: bytes) -> None:
    """Put other bytes into every file of the shared store under a part of it."""
    files, folder = fsspec.core.url_to_fs(address)
    paths = files.find(f"{folder}/ota/{part}")
    assert paths
    for path in paths:
        files.pipe_file(path, content)


def test_a_half_written_file_is_no_file_and_is_written_again(
    controllers: Callable[[str], Controller],
) -> None:
    """A blob of other bytes than its name says is not taken, which is told, and the next who has it puts it right."""
    ann, bob = controllers("ann"), controllers("bob")
    ann.store.put("a key", b"....TFL3 whole")
    damage(ann.address, "blobs", b"....TFL3")
    assert bob.store.get("a key") is None
    (said,) = bob.warned
    assert "has a damaged file for " in said
    ann.store.put("a key", b"....TFL3 whole")
    found = bob.store.get("a key")
    assert found is not None
    assert found.read_bytes() == b"....TFL3 whole"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": 9}', b'{"format":1,"record":"{}","signatures":[],"answers":[]}'],
)
def test_a_damaged_record_is_told_and_left_where_it_is(
    content: bytes, controllers: Callable[[str], Controller]
) -> None:
    """What cannot be read whole is no selection."""
    ann, bob = controllers("ann"), controllers("bob")
    ann.selects("20260102-101500-abcdef")
    damage(ann.address, "selections", content)
    assert bob.store.latest_selection(PLAY, MODEL) is None
    assert len(bob.warned) == 1
    assert "has a damaged record of the selection 20260102-101500-abcdef" in bob.warned[0]


def test_a_record_in_anothers_place_is_not_taken(controllers: Callable[[str], Controller]) -> None:
    """A selection counts by the id, the play and the model that it is kept under."""
    ann, bob = controllers("ann"), controllers("bob")
    ann.selects("20260102-101500-abcdef")
    files, folder = fsspec.core.url_to_fs(ann.address)
    (path,) = files.find(f"{folder}/ota/selections")
    files.pipe_file(path.replace("20260102", "20260105"), files.cat_file(path))
    found = bob.store.latest_selection(PLAY, MODEL)
    assert found is not None
    assert found.id == "20260102-101500-abcdef"
    assert "has the selection 20260102-101500-abcdef in the place of 20260105-101500-abcdef" in bob.warned[0]


def test_a_store_that_does_not_answer_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens at the address: it is asked once for reading and once for writing, and the run goes on alone."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed here")
    s3fs.S3FileSystem.clear_instance_cache()
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{place.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        alone = Controller.at(tmp_path / "ann", "s3://nowhere/models")
        with alone.store:
            made = alone.selects("20260102-101500-abcdef")
            assert alone.store.latest_selection(PLAY, MODEL) == made
            assert alone.store.get("a key") is None
            with pytest.raises(MissingFileError):
                alone.store.blob(Digest.of(b"elsewhere"))
    assert len(alone.warned) == 2
    assert all("the shared store s3://nowhere/models cannot be" in said for said in alone.warned)


def test_a_full_store_costs_a_warning_and_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk behind the address refuses: nothing lies there by the name of something whole."""
    from fsspec.implementations.local import LocalFileSystem

    def full(_self: object, path: str, value: bytes, **_: object) -> None:
        Path(path).write_bytes(value[: len(value) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "pipe_file", full)
    alone = Controller.at(tmp_path / "ann", str(tmp_path / "shared"))
    with alone.store:
        alone.selects("20260102-101500-abcdef")
    (said,) = alone.warned
    assert "cannot be written: [Errno 28] No space left on device; going on without it" in said
    left = [path.name for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert all(name.startswith(".") for name in left)


def test_a_folder_that_cannot_be_one_costs_a_warning(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "shared").write_text("no folder")
    alone = Controller.at(tmp_path / "ann", str(tmp_path / "shared"))
    with alone.store:
        alone.selects("20260102-101500-abcdef")
    assert any("cannot be" in said for said in alone.warned)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("gopher://host/models", "this is no address of a store"),
        ("abfs://container/models", "the shared store needs a library that is not installed"),
    ],
)
def test_an_address_that_nobody_knows_is_refused(address: str, problem: str) -> None:
    """Before anything is done, with what to install."""
    with pytest.raises(UsageError, match=problem):
        SharedStore.open(address, lambda _: None)


def test_a_password_in_an_address_is_told_to_nobody(tmp_path: Path) -> None:
    """Neither in an error nor in a warning."""
    with pytest.raises(UsageError) as caught:
        SharedStore.open("gopher://ann:secret@host/models", lambda _: None)
    assert "secret" not in str(caught.value.reason) + caught.value.where
    assert caught.value.where == "gopher://host/models"
    assert tmp_path.exists()
