"""Playbook text to core values; every fault of the file is reported at once, at its line and column, with a guess at misspelt keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ota.core.gate import GateSpec
from ota.core.objective import Formula, Limits, Objective, Weights, default_weights
from ota.core.playbook import (
    DataSpec,
    DeploySpec,
    HealthCheck,
    MeasureSpec,
    ModelSpec,
    OnFailure,
    Play,
    Playbook,
    Preprocessing,
    SelectSpec,
)
from ota.errors import ContentError, Fault, MissingFileError
from ota.formats.inventory_yaml import Document, DocumentError
from ota.formats.playbook_schema import (
    DataShape,
    DeployShape,
    GateShape,
    LimitsShape,
    MeasureShape,
    PlayShape,
    PreprocessingShape,
    SelectShape,
    WeightsShape,
)

_ANSIBLE_KEYS = {
    "tasks": "ota runs no Ansible tasks: commands on the device stand in deploy.before and deploy.after",
    "roles": "ota runs no Ansible roles",
    "handlers": "ota runs no Ansible handlers: deploy.after runs after each activation",
    "gather_facts": "ota reads the facts it needs by itself",
    "become": "become is a connection variable: set ansible_become in the inventory",
    "vars": "variables stand in the inventory",
    "connection": "the connection is chosen in the inventory by ansible_connection",
    "serial": "serial stands under deploy",
    "max_fail_percentage": "max_fail_percentage stands under deploy",
}
_WORDS = {
    "missing": "this key is missing",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "tuple_type": "expected a list",
}


def load_playbook(path: Path, *, files: bool = True) -> Playbook:
    """Return the plays of the file at `path`; paths in it are relative to its folder.

    `files` says whether the files that it names must be there: a rollback does without them.

    Raises:
        MissingFileError: the playbook, or files that it names, do not exist; all of them are listed.
        ContentError: what it says is wrong; carries every fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFileError(
            "the playbook cannot be read", where=str(path), found=error.strerror or ""
        ) from error
    except UnicodeDecodeError as error:
        raise ContentError(Fault(file=str(path), problem=f"not UTF-8: {error.reason}")) from error
    try:
        document = Document(text, str(path))
    except DocumentError as error:
        raise ContentError(error.fault) from error
    shapes = _validated(document)
    plays = tuple(_play(shape, path.parent) for shape in shapes)
    _check_names(plays, document)
    if files:
        _check_files(plays, document)
    return Playbook(path=path, plays=plays)


def _validated(document: Document) -> Sequence[PlayShape]:
    faults = list(document.warnings)
    if not isinstance(document.content, list) or not document.content:
        expected = "expected a list of plays, each beginning with '- name: ...'"
        raise ContentError(document.place().fault(f"no plays: {expected}"))
    try:
        shapes = TypeAdapter(list[PlayShape]).validate_python(document.content)
    except ValidationError as error:
        faults += [_fault(details, document) for details in error.errors(include_url=False)]
        shapes = []
    if faults:
        raise ContentError(*sorted(faults, key=lambda fault: (fault.line, fault.column)))
    return shapes


def _fault(details: ErrorDetails, document: Document) -> Fault:
    location = tuple(part for part in details["loc"] if part != "[key]")
    place = document.place(*location)
    key = location[-1] if location else ""
    if details["type"] == "extra_forbidden":
        return place.fault(f"unknown key {str(key)!r}", _guess(str(key), location[:-1]))
    name = f"{key}: " if isinstance(key, str) else ""
    problem = details["msg"].removeprefix("Value error, ")
    word = _WORDS.get(details["type"])
    if word and details["type"] != "missing":
        problem = f"{word}, found {details['input']!r}"[:200]
    return place.fault(name + (word if word and details["type"] == "missing" else problem))


def _guess(key: str, above: tuple[object, ...]) -> str:
    if len(above) == 1 and key in _ANSIBLE_KEYS:
        return _ANSIBLE_KEYS[key]
    known = list(_keys_at(above))
    close = get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _keys_at(path: tuple[object, ...]) -> Iterator[str]:
    """Yield the keys of the mapping at `path`, found by walking down the shapes."""
    shape: type[BaseModel] = PlayShape
    for part in path[1:]:
        if not isinstance(part, str) or part not in shape.model_fields:
            return
        annotation = shape.model_fields[part].annotation
        options = [annotation, *get_args(annotation)]
        below = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not below:
            return
        shape = below[0]
    yield from shape.model_fields


def _play(shape: PlayShape, folder: Path) -> Play:
    return Play(
        name=shape.name,
        hosts=shape.hosts,
        model=ModelSpec(
            name=shape.model.name,
            source=folder / shape.model.source,
            artifacts=tuple((name, folder / path) for name, path in shape.model.artifacts.items()),
        ),
        select=None if shape.select is None else _select(shape.select, folder),
        deploy=_deploy(shape.deploy),
        store=_address(shape.store, folder),
    )


def _address(store: str, folder: Path) -> str:
    """Return the address of a store; a path is one from the playbook's folder."""
    return store if not store or "://" in store else str((folder / store).absolute())


def _select(shape: SelectShape, folder: Path) -> SelectSpec:
    evaluation = _data(shape.evaluation, folder)
    return SelectSpec(
        evaluation=evaluation,
        representative=None if shape.representative is None else _data(shape.representative, folder),
        preprocessing=_preprocessing(shape.preprocessing),
        metric=shape.metric,
        schemes=shape.schemes,
        objective=Objective(
            formula=Formula(shape.objective),
            weights=_weights(shape.weights, Formula(shape.objective)),
            limits=_limits(shape.limits),
        ),
        hosts=shape.hosts,
        hosts_per_class=shape.hosts_per_class,
        scope=shape.scope,
        threads=shape.threads,
        allow_overlap=shape.allow_overlap,
        measure=_measure(shape.measure),
    )


def _weights(shape: WeightsShape, formula: Formula) -> Weights:
    return replace(default_weights(formula), **shape.model_dump(exclude_none=True))


def _measure(shape: MeasureShape) -> MeasureSpec:
    return MeasureSpec(
        min_blocks=shape.min_blocks,
        max_blocks=shape.max_blocks,
        inferences=shape.inferences,
        turn_s=shape.turn,
        max_turn_s=shape.max_turn,
        warmup=shape.warmup,
        warmup_s=shape.warmup_time,
        budget_s=shape.budget,
        precision=shape.precision,
        cool_to_c=shape.cool_to,
        other_load=shape.other_load,
        seed=shape.seed,
    )


def _data(shape: DataShape, folder: Path) -> DataSpec:
    return DataSpec(path=folder / shape.path, limit=shape.limit)


def _preprocessing(shape: PreprocessingShape) -> Preprocessing:
    return Preprocessing(scale=shape.scale, offset=shape.offset, resize=shape.resize, color=shape.color)


def _limits(shape: LimitsShape) -> Limits:
    return Limits(
        accuracy_drop=shape.accuracy_drop,
        latency_ms=shape.latency_ms,
        size_bytes=shape.size,
        memory_bytes=shape.memory,
    )


def _deploy(shape: DeployShape) -> DeploySpec:
    check = shape.health_check
    return DeploySpec(
        serial=shape.serial,
        max_fail_percentage=shape.max_fail_percentage,
        on_failure=OnFailure(shape.on_failure),
        pause_s=shape.pause,
        before=shape.before,
        after=shape.after,
        command_timeout_s=shape.command_timeout,
        lease_s=shape.lease,
        health_check=None
        if check is None
        else HealthCheck(
            command=check.command, retries=check.retries, delay_s=check.delay, timeout_s=check.timeout
        ),
        gate=None if shape.gate is None else _gate(shape.gate),
        keep_releases=shape.keep_releases,
        load_check=shape.load_check,
    )


def _gate(shape: GateShape) -> GateSpec:
    return GateSpec(
        accuracy_drop=shape.accuracy_drop,
        latency_increase=shape.latency_increase,
        every_host=shape.hosts == "all",
        budget_s=shape.budget,
    )


def _check_names(plays: Sequence[Play], document: Document) -> None:
    """Two plays of one name could not be told apart in the store, nor on a command line."""
    seen: dict[str, int] = {}
    faults = []
    for index, play in enumerate(plays):
        if play.name in seen:
            faults.append(document.place(index, "name").fault(f"name: a second play called {play.name!r}"))
        seen[play.name] = index
    if faults:
        raise ContentError(*faults)


def _check_files(plays: Sequence[Play], document: Document) -> None:
    missing = [
        document.place(index, *keys).fault(f"{keys[-1]}: there is no {path}")
        for index, play in enumerate(plays)
        for keys, path in play.files.items()
        if not Path(path).exists()
    ]
    if missing:
        raise MissingFileError("\n".join(fault.render() for fault in missing))
