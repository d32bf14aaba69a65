"""A folder of images per class, read as bytes of the size that the network takes.

Invariants: classes are numbered in the order of their names unless labels are given; hidden files and files without an image's suffix
do not count; every unreadable image is reported, not just the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ota.core.playbook import DataSpec, Preprocessing
from ota.errors import ContentError, Fault
from ota.quantize.dataset import Dataset, no_targets, spread

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
}
_MODES = {"rgb": ("RGB", 3), "grayscale": ("L", 1)}
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "F"})
_MAX_FAULTS = 20


def load_images(
    spec: DataSpec,
    preprocessing: Preprocessing,
    shape: tuple[int, ...],
    *,
    labels: Sequence[str] = (),
    labelled: bool = True,
    most: int | None = None,
) -> Dataset:
    """Return the images under the folder `spec.path`, resized to `shape` [h, w, c].

    `labels` name the classes in the order of their numbers (empty: the folders by name); at most `most` classes are expected. Not
    `labelled`: images may also lie in the folder itself, and the dataset has no targets.

    Raises:
        ContentError: an empty folder or class, an unreadable image, a network that takes no such images.
    """
    folder = Path(spec.path)
    _check_shape(folder, preprocessing, shape)
    classes = _classes(folder, labels if labelled else (), loose=not labelled)
    if most is not None and len(classes) > most:
        problem = f"expected at most {most} classes, as many as the network knows, found {len(classes)}"
        raise ContentError(Fault(file=str(folder), problem=problem))
    found = [(file, number) for number, (_, files) in enumerate(classes) for file in files]
    if spec.limit is not None:
        found = [found[index] for index in spread([number for _, number in found], spec.limit)]
    samples = _read_all([file for file, _ in found], preprocessing, shape)
    return Dataset(
        samples=samples,
        targets=np.array([number for _, number in found], np.int64) if labelled else no_targets(len(found)),
        scale=preprocessing.scale,
        offset=preprocessing.offset,
        labels=tuple(name for name, _ in classes),
        names=tuple(str(file) for file, _ in found),
    )


def _check_shape(folder: Path, preprocessing: Preprocessing, shape: tuple[int, ...]) -> None:
    _, channels = _MODES[preprocessing.color]
    if len(shape) != 3:
        problem = f"a folder of images is for a network that takes images [height, width, channels], and this one takes {list(shape)}"
    elif shape[2] != channels:
        problem = f"the network takes {shape[2]} channels, and color: {preprocessing.color} makes {channels}"
    else:
        return
    raise ContentError(Fault(file=str(folder), problem=problem))


def _classes(folder: Path, labels: Sequence[str], *, loose: bool) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    """Return (class, its images) pairs in the order of the class numbers; a label without a folder has no images."""
    folders = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    lying = _images_in(folder) if loose else ()
    if not folders and not lying:
        raise ContentError(
            Fault(file=str(folder), problem="expected a folder of images per class, found no folder in it")
        )
    images = {name: _images_in(folder / name) for name in folders}
    faults = [
        Fault(file=str(folder / name), problem="this class has no image in it")
        for name, files in images.items()
        if not files
    ]
    faults += _label_faults(folder, folders, labels)
    if faults:
        raise ContentError(*faults)
    classes = tuple((name, images.get(name, ())) for name in labels or folders)
    return (*classes, ("", lying)) if lying else classes


def _label_faults(folder: Path, names: Sequence[str], labels: Sequence[str]) -> list[Fault]:
    faults = [
        Fault(file=str(folder), problem=f"the label {label} is given twice")
        for index, label in enumerate(labels)
        if label in labels[:index]
    ]
    for name in names if labels else ():
        if name not in labels:
            near = get_close_matches(name, labels, n=1)
            hint = f"did you mean {near[0]}?" if near else ""
            problem = "this class is not among the labels"
            faults.append(Fault(file=str(folder / name), problem=problem, hint=hint))
    return faults


def _images_in(folder: Path) -> tuple[Path, ...]:
    return tuple(
        sorted(
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() in _SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        )
    )


def _read_all(
    files: Sequence[Path], preprocessing: Preprocessing, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    samples = np.empty((len(files), *shape), np.uint8)
    faults: list[Fault] = []
    for index, file in enumerate(files):
        try:
            samples[index] = _read(file, preprocessing, shape)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            faults.append(Fault(file=str(file), problem=f"the image cannot be read: {_one_line(error)}"))
            if len(faults) == _MAX_FAULTS:
                faults.append(Fault(file=str(file.parent), problem="more images after this were not tried"))
                break
    if faults:
        raise ContentError(*faults)
    return samples


def _read(file: Path, preprocessing: Preprocessing, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    height, width, _ = shape
    mode, _ = _MODES[preprocessing.color]
    with Image.open(file) as image:
        if image.mode in _DEEP_MODES:
            raise ValueError(f"expected 8 bits a channel, found mode {image.mode}")
        pixels = image.convert(mode)
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), _FILTERS[preprocessing.resize])
    return np.asarray(pixels, np.uint8).reshape(shape)


def _one_line(error: Exception) -> str:
    """Pillow repeats the path in its message for what is no image at all."""
    text = str(error) or type(error).__name__
    return "not an image that Pillow knows" if "cannot identify image file" in text else text.splitlines()[0]
