"""A play's data: folders of real image files and real .npz files, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ota.core.metric import metric_named
from ota.core.playbook import DataSpec, Preprocessing, SelectSpec
from ota.errors import ContentError, MissingFileError
from ota.quantize.dataset import Dataset
from ota.quantize.flatbuffer import Network, Tensor
from ota.quantize.load import check_present, load, load_both, load_representative

ACCURACY, MSE = metric_named("accuracy"), metric_named("mse")


def _network(shape: tuple[int, ...] = (4, 6, 3), outputs: int = 2) -> Network:
    return Network(
        inputs=(Tensor(shape=(1, *shape), type="float32"),),
        outputs=(Tensor(shape=(1, outputs), type="float32"),),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five images, 6 by 4 pixels, whose red is their number and whose green their class; and things to overlook."""
    root = tmp_path / "images"
    for number, name in enumerate(("bottle", "can")):
        (root / name).mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (6, 4), (index, number, 0)).save(root / name / f"{index}.png")
    (root / ".hidden").mkdir()
    (root / "LICENSE").write_text("text")
    (root / "can" / "notes.txt").write_text("text")
    (root / "can" / ".DS_Store.png").write_text("text")
    return root


def _load(path: Path, **changes: Any) -> Dataset:
    spec = DataSpec(path=path, limit=changes.pop("limit", None))
    network, metric = changes.pop("network", _network()), changes.pop("metric", ACCURACY)
    labels = changes.pop("labels", ())
    return load(spec, Preprocessing(**changes), network, metric, labels=labels)


def _faults(path: Path, **changes: Any) -> list[str]:
    """Return the faults that loading `path` reports, without the path in front."""
    with pytest.raises(ContentError) as caught:
        _load(path, **changes)
    return [fault.render().removeprefix(str(path)) for fault in caught.value.faults]


def test_images_are_bytes_in_the_order_of_their_classes_and_names(folder: Path) -> None:
    """Classes are numbered by name; pixels stay bytes; scale and offset are kept for the devices; the rest of the folder is overlooked."""
    data = _load(folder, scale=(1 / 255,), offset=(0.5,))
    assert data.samples.dtype == np.uint8
    assert data.sample_shape == (4, 6, 3)
    assert data.samples[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4] * 2
    assert data.samples[:, 0, 0, 1].tolist() == data.targets.tolist() == [0] * 5 + [1] * 5
    assert (data.labels, data.notes) == (("bottle", "can"), ())
    assert (data.scale, data.offset) == ((1 / 255,), (0.5,))


def test_labels_give_the_order_of_the_classes(folder: Path) -> None:
    """Where labels are given, classes are numbered in their order."""
    data = _load(folder, labels=("can", "bottle"))
    assert data.labels == ("can", "bottle")
    assert data.samples[:, 0, 0, 1].tolist() == [1] * 5 + [0] * 5
    assert data.targets.tolist() == [0] * 5 + [1] * 5


def test_a_label_without_a_folder_keeps_its_number(folder: Path) -> None:
    """A class that the evaluation set has no image of is noted, and the others keep the numbers that the labels give."""
    data = _load(folder, labels=("bottle", "box", "can"), network=_network(outputs=3))
    assert data.targets.tolist() == [0] * 5 + [2] * 5
    assert data.notes == (f"{folder}: no image of box",)


def test_a_limit_takes_the_same_few_of_each_class(folder: Path) -> None:
    """The limit is spread over the classes, and only those images are opened."""
    (folder / "can" / "1.png").write_bytes(b"torn, and not among the four")
    data = _load(folder, limit=4)
    assert data.samples[:, 0, 0, 0].tolist() == [0, 2, 0, 2]
    assert data.targets.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("resize", ["bilinear", "nearest", "bicubic", "area"])
def test_images_are_resized_to_the_network(resize: str, folder: Path) -> None:
    """Images of any size become the network's height and width, with each way to resize."""
    Image.new("RGB", (50, 20), (7, 0, 0)).save(folder / "bottle" / "0.png")
    data = _load(folder, network=_network((8, 5, 3)), resize=resize)
    assert data.samples.shape == (10, 8, 5, 3)
    assert data.samples[0, :, :, 0].tolist() == [[7] * 5] * 8


def test_images_are_read_in_the_colour_asked_for(folder: Path) -> None:
    """Grayscale makes one channel; palettes and transparency are read as colours."""
    Image.new("RGB", (6, 4), (204, 204, 204)).convert("P").save(folder / "bottle" / "0.png")
    Image.new("RGBA", (6, 4), (100, 100, 100, 255)).save(folder / "bottle" / "1.png")
    gray = _load(folder, network=_network((4, 6, 1)), color="grayscale")
    assert gray.samples.shape == (10, 4, 6, 1)
    assert gray.samples[:2, 0, 0, 0].tolist() == [204, 100]
    assert _load(folder).samples[:2, 0, 0].tolist() == [[204] * 3, [100] * 3]


def test_missing_data_is_a_missing_file(tmp_path: Path) -> None:
    """Data that is not there is named before anything slow begins."""
    with pytest.raises(MissingFileError) as caught:
        check_present(DataSpec(path=tmp_path / "none"))
    assert str(caught.value) == (
        f"{tmp_path / 'none'}: the data is not there: expected a folder of images per class or an .npz"
    )


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    """An empty folder is an error that says what was expected."""
    assert _faults(tmp_path) == [": expected a folder of images per class, found no folder in it"]


def test_every_empty_class_and_wrong_label_is_reported(folder: Path) -> None:
    """All faults of the folder come at once, with a guess at a misspelt label."""
    (folder / "empty").mkdir()
    assert _faults(folder, labels=("bottel", "can", "can")) == [
        "/empty: this class has no image in it",
        ": the label can is given twice",
        "/bottle: this class is not among the labels (did you mean bottel?)",
        "/empty: this class is not among the labels",
    ]


def test_every_unreadable_image_is_named(folder: Path) -> None:
    """Text, a torn file and deep pixels are each reported with the file."""
    (folder / "bottle" / "1.png").write_text("no image")
    whole = (folder / "can" / "2.png").read_bytes()
    (folder / "can" / "2.png").write_bytes(whole[: len(whole) // 2])
    Image.new("I;16", (6, 4)).save(folder / "can" / "3.png")
    first, torn, deep = _faults(folder)
    assert first == "/bottle/1.png: the image cannot be read: not an image that Pillow knows"
    assert torn.startswith("/can/2.png: the image cannot be read: ")
    assert deep == "/can/3.png: the image cannot be read: expected 8 bits a channel, found mode I;16"


def test_a_bomb_of_pixels_is_refused(folder: Path) -> None:
    """An image that would unpack to gigabytes is reported, not unpacked."""
    header = b"P6\n60000 60000\n255\n"
    (folder / "can" / "huge.ppm").write_bytes(header + bytes(100))
    (fault,) = _faults(folder)
    assert fault.startswith("/can/huge.ppm: the image cannot be read: Image size (3600000000 pixels) exceeds")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"network": _network((4, 6, 1))},
            ": the network takes 1 channels, and color: rgb makes 3",
        ),
        (
            {"network": _network((9,))},
            ": a folder of images is for a network that takes images [height, width, channels], and this one takes [9]",
        ),
        (
            {"metric": MSE},
            ": a folder of images has classes and no numbers, which mse compares with (use an .npz with x and y, or metric: accuracy)",
        ),
        (
            {"scale": (1.0, 2.0)},
            ": preprocessing scale has 2 values: expected 1 or 3, one for each channel of the network",
        ),
        (
            {"network": _network(outputs=1), "labels": ()},
            "",
        ),
    ],
    ids=["channels", "no image network", "regression", "scale", "binary is fine"],
)
def test_a_folder_must_fit_the_network_and_the_metric(
    changes: dict[str, Any], fault: str, folder: Path
) -> None:
    """A folder that does not fit is refused with what was expected; a network with one output has two classes."""
    if fault:
        assert _faults(folder, **changes) == [fault]
    else:
        assert len(_load(folder, **changes)) == 10


def test_the_number_of_classes_must_fit_the_network(folder: Path) -> None:
    """More folders than the network has outputs is a fault, fewer is a note that tells the numbering."""
    (note,) = _load(folder, network=_network(outputs=3)).notes
    assert note == (
        f"{folder}: 2 classes for a network with 3 outputs; they are numbered from 0 in this order: bottle, can"
    )
    (folder / "third").mkdir()
    Image.new("RGB", (6, 4)).save(folder / "third" / "0.png")
    assert _faults(folder) == [": expected at most 2 classes, as many as the network knows, found 3"]


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


X = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
VECTOR = _network((3,), 2)


@pytest.mark.parametrize(
    "y",
    [[0, 1, 1, 0], [[0], [1], [1], [0]], [0.0, 1.0, 1.0, 0.0], [[1, 0], [0, 1], [0, 1], [1, 0]]],
    ids=["numbers", "column", "whole floats", "one-hot"],
)
def test_classes_come_as_numbers_or_one_hot(y: list[Any], tmp_path: Path) -> None:
    """Every usual way to write classes gives class numbers."""
    data = _load(_npz(tmp_path, x=X, y=np.array(y)), network=VECTOR)
    assert data.targets.dtype == np.int64
    assert data.targets.tolist() == [0, 1, 1, 0]
    assert np.array_equal(data.samples, X)


def test_a_regression_compares_with_numbers(tmp_path: Path) -> None:
    """Targets are float32 [N, K], and x may leave out axes of length 1, as for a network of one number."""
    path = _npz(tmp_path, x=np.linspace(0, 1, 5), y=np.linspace(1, 2, 5))
    data = _load(path, network=_network((1,), 1), metric=MSE)
    assert data.samples.shape == (5, 1)
    assert (data.targets.shape, data.targets.dtype) == ((5, 1), np.float32)
    assert _load(path, network=_network((1,), 1), metric=MSE, limit=2).targets.ravel().tolist() == [1.0, 1.5]


def test_whole_numbers_of_pixels_stay_bytes(tmp_path: Path) -> None:
    """Float pixels that are whole numbers are kept as bytes, and a missing channel axis is added."""
    x = np.random.default_rng(1).integers(0, 256, (4, 4, 6)).astype(np.float64)
    data = _load(_npz(tmp_path, x=x, y=np.zeros(4, int)), network=_network((4, 6, 1)))
    assert data.samples.dtype == np.uint8
    assert data.samples.shape == (4, 4, 6, 1)


@pytest.mark.parametrize(
    ("arrays", "faults"),
    [
        ({"x": X}, [": expected the arrays x and y, found x"]),
        ({"x": X, "y": np.array([object()] * 4)}, [": expected an .npz with arrays of numbers, found Python objects"]),
        ({"x": X[:0], "y": np.zeros(0, int)}, [": x holds no sample: it is float32 [0, 3]"]),
        (
            {"x": X[:, :2], "y": [0, 1, 2, 0]},
            [
                ": x does not fit the network: expected [N, 3], found float32 [4, 2]",
                ": y holds the class 2: expected 0 to 1, the network has 2 outputs",
            ],
        ),
        (
            {"x": X * np.nan, "y": [0, 1]},
            [": x holds NaN or infinite values", ": x and y differ in length: x is float32 [4, 3], y is int64 [2]"],
        ),
        ({"x": X, "y": [0, -1, 0, 0]}, [": y holds the class -1: expected 0 to 1, the network has 2 outputs"]),
        ({"x": X, "y": [0, 0.5, 0, 0]}, [": y holds fractions: expected class numbers or one-hot rows"]),
        ({"x": X, "y": [0, np.nan, 0, 0]}, [": y holds NaN or infinite values"]),
        ({"x": X, "y": np.ones((4, 2))}, [": y holds a row that is not one-hot: expected one 1 and else 0 in each"]),
        ({"x": X, "y": np.ones((4, 3))}, [": y does not fit the network: expected [N] or [N, 2], found float64 [4, 3]"]),
        ({"x": np.array(["a"] * 4), "y": [0] * 4}, [": x does not fit the network: expected [N, 3], found <U1 [4]"]),
        ({"x": 5, "y": 1}, [": x holds no sample: it is int64 []", ": x and y differ in length: x is int64 [], y is int64 []"]),
    ],
)  # fmt: skip
def test_every_fault_of_an_npz_is_reported(arrays: dict[str, Any], faults: list[str], tmp_path: Path) -> None:
    """Wrong shapes, lengths, labels and values are each one clear fault, and come together."""
    assert _faults(_npz(tmp_path, **arrays), network=VECTOR) == faults


def test_a_regression_of_another_width_is_refused(tmp_path: Path) -> None:
    """Targets must hold as many numbers as the network answers with."""
    path = _npz(tmp_path, x=X, y=np.ones((4, 3)))
    assert _faults(path, network=VECTOR, metric=MSE) == [
        ": y does not fit the network: expected [N, 2], found float64 [4, 3]"
    ]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"], ids=["empty", "text", "torn"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    """What is no .npz is said to be none."""
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert _faults(path) == [
        ": expected an .npz with arrays of numbers, found a damaged file or another format"
    ]


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    """An .npy under another name is recognised."""
    np.save(tmp_path / "data.npy", X)
    assert _faults(tmp_path / "data.npy") == [": expected an .npz with x and y, found a single .npy array"]


def test_representative_data_needs_no_classes(folder: Path, tmp_path: Path) -> None:
    """Images may lie in one folder, and an .npz may have x alone."""
    network, plain = _network(), Preprocessing()
    flat = load_representative(DataSpec(path=folder / "can"), plain, network)
    assert (len(flat), flat.targets.shape) == (5, (5, 0))
    assert len(load_representative(DataSpec(path=folder, limit=4), plain, network)) == 4
    arrays = load_representative(DataSpec(path=_npz(tmp_path, x=X)), plain, VECTOR)
    assert (len(arrays), arrays.targets.shape) == (4, (4, 0))


def test_the_faults_of_both_data_sets_come_together(folder: Path, tmp_path: Path) -> None:
    """A selection hears of the faults of its evaluation set and of its representative dataset at once."""
    (folder / "can" / "1.png").write_text("no image")
    (tmp_path / "none").mkdir()
    spec = SelectSpec(evaluation=DataSpec(path=folder), representative=DataSpec(path=tmp_path / "none"))
    with pytest.raises(ContentError) as caught:
        load_both(spec, _network())
    assert [fault.file for fault in caught.value.faults] == [
        str(folder / "can" / "1.png"),
        str(tmp_path / "none"),
    ]
    (folder / "can" / "1.png").unlink()
    evaluation, representative = load_both(spec, _network(), calibrated=False)
    assert (len(evaluation), representative) == (9, None)
    both = SelectSpec(evaluation=DataSpec(path=folder), representative=DataSpec(path=folder / "can"))
    assert [len(one) for one in load_both(both, _network()) if one is not None] == [9, 4]


def test_real_photographs_load(shared: Path) -> None:
    """The representative photographs are bytes of the network's size, none of them among the evaluation set's."""
    network = _network((224, 224, 3), 5)
    spec = SelectSpec(
        evaluation=DataSpec(path=shared / "waste/test", limit=20),
        representative=DataSpec(path=shared / "waste/representative", limit=10),
    )
    evaluation, representative = load_both(spec, network)
    assert evaluation.labels == ("cardboard", "glass", "metal", "paper", "plastic")
    assert np.bincount(evaluation.targets).tolist() == [4] * 5
    assert representative is not None
    assert len(representative) == 10
