"""Where an inventory comes from: which files of a folder count, which files of variables belong to a name, and what is refused.

Rules: a folder's files are read in ASCII order, some names and endings passed over; a name's variables are in the first of NAME,
NAME.yml, NAME.yaml and NAME.json that exists, or in all files below it where that is a folder. Encrypted, executable and INI
inventories are recognised and refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ota.core.inventory import Place
from ota.errors import Fault, MissingFileError
from ota.formats.inventory_yaml import VAULT_HEADER, Document, DocumentError

YAML_ENDINGS = ("", ".yml", ".yaml", ".json")
IGNORED_NAMES = frozenset({"group_vars", "host_vars", "vars_plugins"})
IGNORED_ENDINGS = (
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
)  # fmt: skip

_INI_LINE = re.compile(r"\[[^\[\]:,'\"]+(?::(?:vars|children|hosts))?\]\s*(?:[#;].*)?|[^\s:#]+\s+\w+=.*")
_TO_YAML = "convert it once with `ansible-inventory -i FILE --list --export --yaml`"


def inventory_files(source: Path) -> Iterator[Path]:
    """Yield the files of a source in the order in which they are read; a folder is searched with all below it."""
    if not source.is_dir():
        yield source
        return
    for name in sorted(os.listdir(source)):  # noqa: PTH208 - names, sorted as Ansible sorts them
        if not (name.startswith(".") or name in IGNORED_NAMES or name.endswith(IGNORED_ENDINGS)):
            yield from inventory_files(source / name)


def read_text(path: Path) -> str | Fault:
    """Return a file's text, or the fault where it is encrypted or not UTF-8.

    Raises:
        MissingFileError: it does not exist or cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return Place(file=str(path)).fault(f"not text in UTF-8: byte {error.start} cannot be read")
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read", found=error.strerror or "") from error
    if text.startswith(VAULT_HEADER):
        hint = f"write it in clear with `ansible-vault decrypt {path}`, or keep it out of the inventory"
        return Place(file=str(path)).fault("encrypted by ansible-vault, which `ota` does not decrypt", hint)
    return text


def read_inventory(path: Path) -> Document | Fault:
    """Return what a static YAML inventory says, or the fault where the file is something else.

    Raises:
        MissingFileError: it does not exist or cannot be read.
    """
    place = Place(file=str(path))
    text = read_text(path)
    if isinstance(text, Fault):
        return text
    if text.startswith("#!") and os.access(path, os.X_OK):
        hint = f"save what it prints as YAML: `ansible-inventory -i {path} --list --export --yaml`"
        return place.fault("an executable file is a dynamic inventory, which `ota` does not run", hint)
    if path.suffix not in YAML_ENDINGS:
        return place.fault(f"a file ending in {path.suffix} is not a YAML inventory", _TO_YAML)
    try:
        document = Document(text, str(path))
    except DocumentError as error:
        return _ini(text, place) or error.fault
    return _shape(document, text, place) or document


def _shape(document: Document, text: str, place: Place) -> Fault | None:
    content = document.content
    if isinstance(content, dict) and content:
        if content.get("plugin"):
            hint = f"save what it finds as YAML: `ansible-inventory -i {place.file} --list --export --yaml`"
            problem = f"the key `plugin` ({content['plugin']}) makes this a dynamic inventory, which `ota` does not run"
            return document.place("plugin").fault(problem, hint)
        if "_meta" in content:
            hint = "save it with --yaml: `ansible-inventory --list --export --yaml`"
            return document.place("_meta").fault(
                "this is the output of a dynamic inventory, not an inventory", hint
            )
        return None
    if not content:
        return place.fault("the inventory is empty", "`ota init` writes an example")
    found = "a list" if isinstance(content, list) else f"{str(content)[:40]!r}"
    problem = f"an inventory must be a mapping of groups, found {found}"
    return _ini(text, place) or place.fault(problem, "begin with `all:` and `hosts:` below it")


def _ini(text: str, place: Place) -> Fault | None:
    """Return the fault of an INI inventory where a line can be nothing else, or every line is a bare word."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and line[0] not in "#;"]
    if not any(_INI_LINE.fullmatch(line) for line in lines) and not all(
        re.fullmatch(r"[\w.-]+", line) for line in lines
    ):
        return None
    return place.fault("an INI inventory, which `ota` does not read", _TO_YAML)


def variable_files(folder: Path, name: str) -> tuple[Path, ...]:
    """Return the files in a group_vars/ or host_vars/ `folder` that hold the variables of `name`, in order."""
    if name.startswith("/"):
        return ()
    for ending in YAML_ENDINGS:
        path = folder / f"{name}{ending}"
        if path.is_dir():
            return tuple(_files_below(path))
        if path.exists():
            return (path,)
    return ()


def _files_below(folder: Path) -> Iterator[Path]:
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, sorted as Ansible sorts them
        path = folder / name
        ending = os.path.splitext(name)[1]  # noqa: PTH122 - pathlib sees no ending in `x.`
        if name.startswith(".") or name.endswith("~"):
            continue
        if path.is_dir() and not ending:
            yield from _files_below(path)
        elif path.is_file() and ending in YAML_ENDINGS:
            yield path
