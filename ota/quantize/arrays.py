"""An .npz with x and y, checked against the network before anything is converted."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ota.core.playbook import DataSpec, Preprocessing
from ota.errors import ContentError, Fault
from ota.quantize.dataset import Dataset, classes_of, no_targets, smallest_form, spread, take


def load_arrays(
    spec: DataSpec,
    preprocessing: Preprocessing,
    shape: tuple[int, ...],
    *,
    classification: bool,
    outputs: int,
    labelled: bool = True,
) -> Dataset:
    """Return x and y of the .npz `spec.path` for a network that takes `shape` and answers with `outputs` numbers.

    y holds class numbers, one-hot rows, or numbers to compare with where not `classification`; not `labelled`: y is not looked at.

    Raises:
        ContentError: with every fault found.
    """
    path = Path(spec.path)
    faults: list[Fault] = []
    arrays = _read(path, ("x", "y") if labelled else ("x",))
    samples = _samples(arrays["x"], shape, path, faults)
    targets: NDArray[Any] = no_targets(0 if samples is None else len(samples))
    if labelled:
        found = arrays["y"]
        if found.shape[:1] != arrays["x"].shape[:1] or found.ndim == 0:
            faults.append(
                _fault(path, f"x and y differ in length: x is {_text(arrays['x'])}, y is {_text(found)}")
            )
        else:
            try:
                targets = _class_numbers(found, outputs) if classification else _numbers(found, outputs)
            except ValueError as error:
                faults.append(_fault(path, f"y {error}"))
    if faults or samples is None:
        raise ContentError(*faults)
    dataset = Dataset(
        samples=samples, targets=targets, scale=preprocessing.scale, offset=preprocessing.offset
    )
    if spec.limit is None or spec.limit >= len(dataset):
        return dataset
    return take(dataset, spread(classes_of(targets, len(dataset)), spec.limit))


def _read(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ContentError(_fault(path, "expected an .npz with x and y, found a single .npy array"))
        with archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise ContentError(
                    _fault(
                        path,
                        f"expected the arrays {' and '.join(names)}, found {', '.join(archive.files) or 'none'}",
                    )
                )
            return {name: archive[name] for name in names}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        text = "Python objects" if "Object arrays" in str(error) else "a damaged file or another format"
        raise ContentError(_fault(path, f"expected an .npz with arrays of numbers, found {text}")) from error


def _samples(x: NDArray[Any], shape: tuple[int, ...], path: Path, faults: list[Fault]) -> NDArray[Any] | None:
    """Return x as [N, *shape], or add a fault; axes of length 1 may be left out."""
    if x.ndim == 0 or x.shape[0] == 0:
        faults.append(_fault(path, f"x holds no sample: it is {_text(x)}"))
        return None
    if [size for size in x.shape[1:] if size != 1] != [size for size in shape if size != 1]:
        faults.append(
            _fault(path, f"x does not fit the network: expected [N, {_axes(shape)}], found {_text(x)}")
        )
        return None
    try:
        return smallest_form(x).reshape(x.shape[0], *shape)
    except ValueError as error:
        faults.append(_fault(path, f"x {error}"))
        return None


def _class_numbers(y: NDArray[Any], outputs: int) -> NDArray[np.int64]:
    """Return class numbers [N] of labels [N], [N, 1] or one-hot [N, K]; a network with one output has classes 0 and 1."""
    classes = 2 if outputs == 1 else outputs
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    values = smallest_form(y)
    if values.dtype.kind == "f":
        raise ValueError("holds fractions: expected class numbers or one-hot rows")
    if values.ndim == 1:
        numbers: NDArray[np.int64] = values.astype(np.int64)
        wrong = numbers[(numbers < 0) | (numbers >= classes)]
        if wrong.size:
            raise ValueError(
                f"holds the class {int(wrong[0])}: expected 0 to {classes - 1}, the network has {_outputs(outputs)}"
            )
        return numbers
    if values.ndim != 2 or values.shape[1] != classes:
        raise ValueError(f"does not fit the network: expected [N] or [N, {classes}], found {_text(y)}")
    if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1, dtype=np.int64) == 1).all()):
        raise ValueError("holds a row that is not one-hot: expected one 1 and else 0 in each")
    positions: NDArray[np.int64] = values.argmax(axis=1).astype(np.int64)
    return positions


def _numbers(y: NDArray[Any], outputs: int) -> NDArray[np.float32]:
    values = smallest_form(y).astype(np.float32)
    if values.size != values.shape[0] * outputs:
        raise ValueError(f"does not fit the network: expected [N, {outputs}], found {_text(y)}")
    return values.reshape(values.shape[0], outputs)


def _outputs(count: int) -> str:
    return "1 output" if count == 1 else f"{count} outputs"


def _axes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _text(array: NDArray[Any]) -> str:
    return f"{array.dtype} [{_axes(array.shape)}]"


def _fault(path: Path, problem: str) -> Fault:
    return Fault(file=str(path), problem=problem)
