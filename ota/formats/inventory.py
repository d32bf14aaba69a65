"""Ansible YAML inventories to `ota.core.inventory.Inventory`, with every fault of every file reported together.

Sources are files, folders and literal lists (`pi01,pi02,`), merged in order. Files of variables are read from group_vars/ and host_vars/
beside each source and, where one is given, beside the playbook.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ota.core.inventory import Inventory, Place, Value
from ota.core.inventory_assembly import Assembly, Layer, Setting, Statement, VarsFolder
from ota.core.patterns import split_pattern
from ota.errors import ContentError, Fault, MissingFileError, UsageError
from ota.formats.inventory_groups import GroupReader, host_list, kind_of, read_setting
from ota.formats.inventory_sources import inventory_files, read_inventory, read_text, variable_files
from ota.formats.inventory_yaml import Document, DocumentError, freeze


def load_inventory(
    sources: Sequence[str],
    *,
    extra_vars: Mapping[str, Value] | None = None,
    playbook_folder: Path | None = None,
) -> Inventory:
    """Return the inventory that all sources make together; `extra_vars` win over everything in them.

    Raises:
        MissingFileError: a source does not exist or cannot be read.
        ContentError: a source says something wrong; carries all faults of all sources.
    """
    reading = _Reading()
    for source in sources:
        reading.source(source)
    reading.stop_at_faults()
    reading.faults += reading.assembly.close()
    reading.stop_at_faults()
    folders = [*reading.folders, *([playbook_folder] if playbook_folder else [])]
    last = {os.path.realpath(folder): number for number, folder in enumerate(folders)}
    layers = [reading.variables(folders[number]) for number in sorted(last.values())]
    reading.stop_at_faults()
    place = Place(file="-e")
    extra = {name: Setting(value=freeze(value), place=place) for name, value in (extra_vars or {}).items()}
    return reading.assembly.finish(
        folders=layers, extra=extra, warnings=tuple(dict.fromkeys(reading.warnings))
    )


class _Reading:
    """The state of one loading: what is assembled, the folders seen, faults and warnings."""

    def __init__(self) -> None:
        self.assembly = Assembly()
        self.folders: list[Path] = []
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._known = {"all", "ungrouped"}

    def stop_at_faults(self) -> None:
        """Raise all faults found so far, if any."""
        if self.faults:
            raise ContentError(*dict.fromkeys(self.faults))

    def source(self, source: str) -> None:
        """Read one source, whatever it is."""
        path = Path(source).expanduser()
        if source and path.exists():
            self.folders.append(path if path.is_dir() else path.parent)
            self._files(path)
        elif "," in source:
            said = tuple(host_list(source))
            self.assembly.state(item for item in said if not isinstance(item, Fault))
            self.faults += [item for item in said if isinstance(item, Fault)]
        else:
            hint = "name a file or folder with -i, or write an example with `ota init`"
            raise MissingFileError(f"the inventory {source!r} does not exist", hint=hint)

    def _files(self, source: Path) -> None:
        files = tuple(inventory_files(source))
        if not files:
            self.faults.append(Place(file=str(source)).fault("the folder holds no inventory"))
        for path in files:
            document = read_inventory(path)
            if isinstance(document, Fault):
                self.faults.append(document)
                continue
            reader = GroupReader(document, self._known)
            reader.read()
            self.faults += reader.faults
            self.warnings += reader.warnings
            self.assembly.state(_sound(reader.statements, failed=bool(reader.faults)))

    def variables(self, folder: Path) -> VarsFolder:
        """Read the group_vars/ and host_vars/ in `folder` for every known group and host."""
        return VarsFolder(
            groups=dict(self._layers(folder / "group_vars", self.assembly.group_names)),
            hosts=dict(self._layers(folder / "host_vars", self.assembly.host_names)),
        )

    def _layers(self, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Layer]]:
        if not folder.is_dir():
            if folder.exists():
                self.warnings.append(Place(file=str(folder)).fault("not a folder, so it is passed over"))
            return
        for name in names:
            layer: dict[str, Setting] = {}
            for path in variable_files(folder, name):
                layer.update(self._layer(path))
            if layer:
                yield name, layer

    def _layer(self, path: Path) -> Layer:
        document = self._document(path)
        if document is None or not document.content:
            return {}
        self.warnings += document.warnings
        if not isinstance(document.content, dict):
            problem = f"a file of variables must be a mapping, found {kind_of(document.content)}"
            self.faults.append(Place(file=str(path)).fault(problem))
            return {}
        layer = {}
        for name, value in document.content.items():
            setting = read_setting(name, value, document.place(name))
            if isinstance(setting, Fault):
                self.faults.append(setting)
            else:
                layer[str(name)] = setting
        return layer

    def _document(self, path: Path) -> Document | None:
        text = read_text(path)
        try:
            if isinstance(text, str):
                return Document(text, str(path))
            self.faults.append(text)
        except DocumentError as error:
            self.faults.append(error.fault)
        return None


def _sound(statements: Sequence[Statement], *, failed: bool) -> Sequence[Statement]:
    """Return the statements of a file, none where it has faults: they may name groups that were not read."""
    return () if failed else statements


def limit_terms(limit: str) -> tuple[str, ...]:
    """Return the terms of a --limit; an `@file` term stands for the file's lines, one term each.

    Raises:
        MissingFileError: a file does not exist or is none.
        UsageError: the limit or one of its files is empty, which never means every host.
    """
    terms: list[str] = []
    for term in split_pattern(limit):
        terms += _limit_file(Path(term[1:])) if term.startswith("@") else [term]
    if not terms:
        raise UsageError(
            "--limit is empty", found=repr(limit), hint="leave --limit out where every host is meant"
        )
    return tuple(terms)


def _limit_file(path: Path) -> list[str]:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise MissingFileError(f"the file {str(path)!r} of --limit cannot be read", found=found)
    text = read_text(path)
    if isinstance(text, Fault):
        raise ContentError(text)
    terms = [line.strip() for line in text.split("\n") if line.strip()]
    if not terms:
        raise UsageError(
            f"the file {str(path)!r} of --limit is empty", hint="write one host or pattern a line"
        )
    return terms


def parse_extra_vars(options: Sequence[str]) -> dict[str, Value]:
    """Return what the values of -e say together, later ones winning: `key=value ...`, YAML or JSON in braces, or `@file`.

    Raises:
        UsageError: a value is none of these.
        MissingFileError: a file cannot be read.
        ContentError: a file or the YAML is wrong.
    """
    merged: dict[str, Value] = {}
    for option in options:
        if option.startswith("@"):
            merged.update(_mapping(read_text(Path(option[1:])), option[1:]))
        elif option.startswith("{"):
            merged.update(_mapping(option, "-e"))
        elif option:
            merged.update(_pairs(option))
    return merged


def _mapping(text: str | Fault, file: str) -> Iterator[tuple[str, Value]]:
    if isinstance(text, Fault):
        raise ContentError(text)
    try:
        document = Document(text, file)
    except DocumentError as error:
        raise ContentError(error.fault) from error
    if not isinstance(document.content, dict):
        raise ContentError(Place(file=file).fault("extra variables must be a mapping of names to values"))
    for name, value in document.content.items():
        setting = read_setting(name, value, document.place(name))
        if isinstance(setting, Fault):
            raise ContentError(setting)
        yield str(name), setting.value


def _pairs(option: str) -> Iterator[tuple[str, Value]]:
    try:
        words = shlex.split(option)
    except ValueError as error:
        raise UsageError(f"-e {option!r} cannot be read", found=str(error)) from error
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            hint = f"put an @ before the name of a file: -e @{word}" if word[0] in "./" else ""
            raise UsageError(f"-e {word!r} sets nothing", expected="name=value", hint=hint)
        yield name, value
