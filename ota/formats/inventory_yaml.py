"""YAML or JSON text to values with the place of each, exactly as Ansible reads it: JSON first, then YAML 1.1.

What has no JSON form gets Ansible's: dates as ISO text, sets as lists, `!vault` and `!unsafe` scalars as mappings of one key.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ota.core.inventory import UNSAFE_KEY, VAULT_KEY, Place, Value
from ota.errors import Fault

if TYPE_CHECKING or not yaml.__with_libyaml__:
    from yaml import SafeLoader
else:
    # As Ansible does: the parser in C where this PyYAML has it.
    from yaml import CSafeLoader as SafeLoader

VAULT_HEADER = "$ANSIBLE_VAULT"
_DEEPEST = 200


class DocumentError(ValueError):
    """A text is neither JSON nor YAML; carries the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.problem)
        self.fault = fault


class Document:
    """What a text says: `content` in plain Python values with their original keys, and the place of every key."""

    def __init__(self, text: str, file: str) -> None:
        """Read `text`; DocumentError where it is neither JSON nor YAML, or holds more than one document."""
        self.file = file
        self.content: Any = None
        self.warnings: tuple[Fault, ...] = ()
        self._root: Node | None = None
        self._keys: dict[int, dict[Hashable, tuple[Node, Node]]] = {}
        try:
            self._read_yaml(text)
        except DocumentError:
            self.content = _json(text)
            if self.content is None:
                raise
        else:
            as_json = _json(text)
            self.content = self.content if as_json is None else as_json

    def place(self, *path: Hashable) -> Place:
        """Return where the last key of `path` stands (a number: an item of a list), else the nearest place above it."""
        place = Place(file=self.file)
        node = self._root
        for key in path:
            if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                place = _place(node, self.file)
                continue
            if not isinstance(node, MappingNode) or key not in self._children(node):
                break
            key_node, node = self._children(node)[key]
            place = _place(key_node, self.file)
        return place

    def _children(self, node: MappingNode) -> dict[Hashable, tuple[Node, Node]]:
        if id(node) not in self._keys:
            self._keys[id(node)] = {_key_of(key): (key, value) for key, value in node.value}
        return self._keys[id(node)]

    def _read_yaml(self, text: str) -> None:
        try:
            loader = _Loader(text)
            self._root = loader.get_single_node()
            self.content = None if self._root is None else loader.construct_document(self._root)
        except yaml.YAMLError as error:
            _complain(_in_words(text) or error, self.file)
        except (ValueError, OverflowError) as error:
            raise DocumentError(Place(file=self.file).fault(f"not YAML: {error}")) from error
        except RecursionError as error:
            raise DocumentError(Place(file=self.file).fault("the YAML is nested too deeply")) from error
        self.warnings = tuple(
            _place(node, self.file).fault(f"the key {key!r} stands here again; the last one counts")
            for key, node in loader.duplicates
        )


class _Marked(str):
    """Text under one of Ansible's YAML tags; `key` says which."""

    __slots__ = ("key",)
    key: str


class _Loader(SafeLoader):
    """PyYAML's safe loader, which is YAML 1.1 as Ansible reads it, with Ansible's tags and a note of duplicate keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[tuple[Hashable, Node]] = []

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping and note keys that appear twice."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = _key_of(key_node)
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                self.duplicates.append((key, key_node))
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_vault(self, node: Node) -> _Marked:
        """Return the encrypted text."""
        if not isinstance(node, ScalarNode):
            raise ConstructorError(problem="!vault needs a string", problem_mark=node.start_mark)
        return _marked(str(node.value), VAULT_KEY)

    def construct_unsafe(self, node: Node) -> Any:
        """Return the value as if the tag were not there, with every string in it marked."""
        kind: Any = type(node)
        value = node.value if isinstance(node, ScalarNode) else None
        tag = self.resolve(kind, value, (True, False))  # type: ignore[no-untyped-call]
        return _unsafe(
            self.construct_object(kind(tag, node.value, node.start_mark, node.end_mark), deep=True)
        )


_Loader.add_constructor("!vault", _Loader.construct_vault)
_Loader.add_constructor("!vault-encrypted", _Loader.construct_vault)
_Loader.add_constructor("!unsafe", _Loader.construct_unsafe)


def _unsafe(value: Any) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, _Marked) else _marked(value, UNSAFE_KEY)
    if isinstance(value, list):
        return [_unsafe(item) for item in value]
    if isinstance(value, dict):
        return {key: _unsafe(item) for key, item in value.items()}
    return value


def _marked(text: str, key: str) -> _Marked:
    marked = _Marked(text)
    marked.key = key
    return marked


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _key_of(node: Node) -> Hashable:
    if not isinstance(node, ScalarNode):
        return id(node)
    if node.tag == "tag:yaml.org,2002:str":
        return str(node.value)
    try:
        key = SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError):
        return str(node.value)
    return key if isinstance(key, Hashable) else str(node.value)


def _place(node: Node, file: str) -> Place:
    return Place(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)


def _in_words(text: str) -> yaml.YAMLError | None:
    """Return a fault of the text as the parser in Python tells it, with what it found; None where that one finds none."""
    try:
        yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        return error
    except RecursionError:
        pass
    return None


def _complain(error: yaml.YAMLError, file: str) -> NoReturn:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = Place(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Place(file=file)
    raise DocumentError(place.fault(f"not YAML: {problem}")) from error


def freeze(value: Any) -> Value:
    """Return a read-only JSON-like value.

    Raises:
        TypeError: it holds bytes or another thing that has no such form, or itself, or more levels than anybody writes.
    """
    return _freeze(value, ())


def _freeze(value: Any, above: tuple[int, ...]) -> Value:
    if isinstance(value, _Marked):
        return MappingProxyType({value.key: str(value)})
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if id(value) in above:
        raise TypeError("a value that contains itself")
    if len(above) == _DEEPEST:
        raise TypeError(f"a value of more than {_DEEPEST} levels")
    inner = (*above, id(value))
    if isinstance(value, Mapping):
        return MappingProxyType({_json_key(key): _freeze(item, inner) for key, item in value.items()})
    if isinstance(value, set):
        return tuple(_freeze(item, inner) for item in sorted(value, key=str))
    if isinstance(value, list | tuple):
        return tuple(_freeze(item, inner) for item in value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _json_key(key: Any) -> str:
    """Return a mapping's key as JSON spells it."""
    if isinstance(key, str):
        return str(key)
    if isinstance(key, date):
        return key.isoformat()
    return json.dumps(key) if key is None or isinstance(key, int | float) else str(key)
