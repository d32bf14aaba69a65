"""The two tools that make files, each in child processes of its own: the converter from the source, the quantizer from the float32 .tflite.

Invariant: a tool's processes start when it is first needed and end with `Tools`; without a scheme of the converter TensorFlow is loaded nowhere.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from ota.core.measurement import Failure, FailureKind
from ota.core.scheme import Scheme, SourceKind
from ota.errors import ContentError, Fault, UsageError
from ota.quantize.dataset import Dataset
from ota.quantize.keys import converter_version, quantizer_version
from ota.quantize.pool import Outcome, Pool, UnloadableError
from ota.quantize.process import CONVERTER, QUANTIZER
from ota.quantize.source import ModelSource


class Tools:
    """A context manager that keeps the processes of both tools; `jobs` is how many the converter has at most.

    The quantizer has one: a file takes it some hundredths of a second, and what calibration sees is shared. `limit_s` is how long one scheme may take.
    """

    def __init__(self, source: ModelSource, *, jobs: int, limit_s: float) -> None:
        self._source = source
        self._limit_s = limit_s
        self._folder = tempfile.TemporaryDirectory(prefix="ota-convert-")
        self._cpus = os.cpu_count() or 1
        job = {
            "path": str(_loadable(source, Path(self._folder.name))),
            "kind": source.kind.value,
            "threads": max(1, self._cpus // jobs),
        }
        self._converter = Pool(
            CONVERTER, job, folder=Path(self._folder.name), jobs=jobs, limit_s=self._limit_s
        )
        self._quantizer: Pool | None = None

    def __enter__(self) -> Tools:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._converter.__exit__(kind, error, trace)
        if self._quantizer is not None:
            self._quantizer.__exit__(kind, error, trace)
        self._folder.cleanup()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children."""
        return self._converter.pids + (self._quantizer.pids if self._quantizer is not None else ())

    def convert(
        self, schemes: Sequence[Scheme], representative: Dataset | None, *, ahead: int
    ) -> Iterator[Outcome]:
        """Yield what the converter makes under each of `schemes` as it is ready; `ahead` more will be asked for later.

        Raises:
            ContentError: the network cannot be loaded, or is of a kind that cannot be measured.
            UsageError: TensorFlow is not installed.
        """
        if not converter_version():
            raise UsageError(
                "TensorFlow, which converts the network, is not installed", hint="pip install tensorflow"
            )
        try:
            yield from self._converter.run(schemes, representative, ahead=ahead)
        except UnloadableError as error:
            raise self._unusable(str(error)) from None

    def quantize(
        self, float32: Path, schemes: Sequence[Scheme], representative: Dataset | None
    ) -> Iterator[Outcome]:
        """Yield what the quantizer makes of the file `float32` under each of `schemes` as it is ready; nothing that goes wrong ends the run."""
        if not quantizer_version():
            yield from _all_failed(schemes, "LiteRT Quantizer is not installed: pip install litert-quantizer")
            return
        if self._quantizer is None:
            job = {"path": str(float32.absolute()), "threads": self._cpus}
            self._quantizer = Pool(
                QUANTIZER, job, folder=Path(self._folder.name), jobs=1, limit_s=self._limit_s
            )
        left = {scheme.name: scheme for scheme in schemes}
        try:
            for name, outcome in self._quantizer.run(schemes, representative):
                left.pop(name)
                yield name, outcome
        except UnloadableError as error:
            self._quantizer.__exit__(None, None, None)
            self._quantizer = None
            yield from _all_failed(list(left.values()), str(error))

    def _unusable(self, reason: str) -> ContentError:
        hint = (
            "a network with layers of your own can be handed in as a SavedModel" if "locate" in reason else ""
        )
        problem = f"the network cannot be used: {reason}"
        return ContentError(Fault(file=str(self._source.path), problem=problem, hint=hint))


def _all_failed(schemes: Sequence[Scheme], reason: str) -> Iterator[Outcome]:
    for scheme in schemes:
        yield scheme.name, Failure(scheme=scheme.name, kind=FailureKind.CONVERSION, reason=reason)


def _loadable(source: ModelSource, folder: Path) -> Path:
    """Return the network's path with a suffix that Keras takes: it goes by names, and sources are recognised by content."""
    path = source.path.absolute()
    if source.kind is not SourceKind.KERAS or path.suffix in {".keras", ".h5", ".hdf5"}:
        return path
    link = folder / ("source.keras" if zipfile.is_zipfile(path) else "source.h5")
    link.symlink_to(path)
    return link
