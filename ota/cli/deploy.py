"""`ota deploy` and `ota rollback`: what is done to each host; the loop is in `rolling`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.options import (
    check_option,
    executor_options,
    json_option,
    keys_option,
    playbook_argument,
    target_options,
)
from ota.cli.planning import Choice, choice_options
from ota.errors import UsageError

if TYPE_CHECKING:
    from ota.cli.rolling import MakeEnds, Work
    from ota.core.gate import GateSpec
    from ota.core.host_state import HostOutcome
    from ota.core.inventory import Host
    from ota.core.playbook import Play
    from ota.core.release import Digest
    from ota.core.rollout_log import Begun
    from ota.core.selection import Selection
    from ota.store import Store
    from ota.workflows.order import Gate
    from ota.workflows.releases import Plan


@click.command(
    epilog="Examples: ota deploy;  ota deploy --check;  ota deploy --limit canaries --selection 20260131;  ota deploy --model my.tflite"
)
@playbook_argument
@choice_options
@keys_option
@click.option(
    "--reissue",
    is_flag=True,
    help="Sign it as the newest release though it was issued before: for devices that have confirmed newer ones.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[ROLLOUT]",
    help="Take up an unfinished rollout where it stopped: this one, or the newest. Give the playbook before it.",
)
@check_option
@json_option
@target_options
@executor_options
def deploy(
    *,
    playbook: str,
    selection_id: str | None,
    scheme: str | None,
    model_file: Path | None,
    folder: Path,
    resume: str | None,
    check: bool,
    as_json: bool,
    **options: object,
) -> int:
    """Roll the selected model out in batches: staged, verified, tried on the device, activated, checked and read back; or returned."""
    from ota.cli.rolling import roll

    reissue, any_board = bool(options.pop("reissue")), bool(options.pop("any_board"))
    choice = Choice(selection_id=selection_id, scheme=scheme, model_file=model_file, any_board=any_board)
    if resume is not None and (choice.made or reissue or check or options["limit"]):
        raise UsageError(
            "--resume takes a rollout up as it was begun",
            expected="it without --model, --selection, --scheme, --reissue, --any-board, --limit and --check",
        )

    def work(play: Play, hosts: Sequence[Host], store: Store, ends: MakeEnds, begun: Begun | None) -> Work:
        from ota.core.events import Warned
        from ota.workflows.gate_plan import gates_of
        from ota.workflows.journalling import plan_of as planned

        emit = ends(_nothing_to_compare).emit
        if begun is None:
            plan = choice.plan(
                play,
                hosts,
                store,
                lambda message: emit(Warned(message=message)),
                again=reissue,
                keep=not check,
            )
        else:
            plan = planned(begun)
        gate_of = gates_of(play, hosts, plan, store, partial(_gate, store))
        return _deployment(play, plan, gate_of, store, ends, None if check else folder)

    return roll("deploy", playbook, work, check=check, as_json=as_json, options=options, resume=resume)


def _gate(store: Store, spec: GateSpec, selection: Selection) -> Gate:
    from ota.workflows.gate import evaluation_of, held_to

    return held_to(spec, evaluation_of(selection, store))


def _deployment(
    play: Play,
    plan: Plan,
    gate_of: Callable[[Host], Gate | None],
    store: Store,
    ends: MakeEnds,
    keys: Path | None,
) -> Work:
    """Return the work of a deployment, signed with the private keys in the folder `keys`; None: only looked at, nothing is signed."""
    from ota.analysis.agreement import agreement
    from ota.cli.keys import asking_once, authority_of, project_keyrings, signatures_of
    from ota.cli.rolling import Work
    from ota.workflows.jobs import carry_out
    from ota.workflows.order import Order, Return
    from ota.workflows.releases import Agreeing

    there = ends(Agreeing(store, plan.probe, lambda a, b, same: agreement(a, b, same_runtime=same)))
    keyrings = project_keyrings()
    ask = asking_once()
    signatures = {} if keys is None else signatures_of(plan.releases.values(), keyrings, keys, ask)
    authority = None if keys is None else authority_of(keyrings, keys, ask)

    def run(host: Host) -> HostOutcome:
        release = plan.releases[host.name]
        order = Order(
            release=release,
            spec=play.deploy,
            probe=plan.probe,
            signatures=signatures.get(release.id, ()),
            keyrings=keyrings,
            authority=authority,
            gate=gate_of(host),
        )
        return carry_out("look" if keys is None else "deploy", host, order, there)

    def home(host: Host, release: str) -> HostOutcome:
        order = Return(
            model=play.model.name, spec=play.deploy, to=release, keyrings=keyrings, authority=authority
        )
        return carry_out("return", host, order, there)

    return Work(job=run, plan=plan, home=home)


@click.command(
    epilog="Examples: ota rollback;  ota rollback --limit camera-3;  ota rollback --to 3f2a9c0d1e4b5a67"
)
@playbook_argument
@click.option(
    "--to",
    metavar="ID",
    help="A release that is still on the devices (ota status --json lists them), or the unique beginning of its id.",
)
@keys_option
@check_option
@json_option
@target_options
@executor_options
def rollback(
    *, playbook: str, to: str | None, folder: Path, check: bool, as_json: bool, **options: object
) -> int:
    """Put every host back to its previous release, or to a named one, without sending the model again."""
    from ota.cli.keys import asking_once, authority_on_demand, project_keyrings
    from ota.cli.rolling import Work, roll
    from ota.workflows.jobs import carry_out
    from ota.workflows.order import Return

    def work(play: Play, _hosts: Sequence[Host], store: Store, ends: MakeEnds, _begun: Begun | None) -> Work:
        there = ends(_nothing_to_compare)
        owed = store.owed(play.model.name)
        keyrings = project_keyrings()
        authority = authority_on_demand(keyrings, folder, asking_once())

        def run(host: Host) -> HostOutcome:
            # A host that a stopped rollout could not bring back goes where it was to go.
            order = Return(
                model=play.model.name,
                spec=play.deploy,
                to=to or owed.get(host.name),
                keyrings=keyrings,
                authority=authority,
            )
            return carry_out("look back" if check else "return", host, order, there)

        return Work(job=run)

    return roll("rollback", playbook, work, check=check, as_json=as_json, options=options)


def _nothing_to_compare(digest: Digest, host: str, runtime: str, outputs: bytes) -> str:  # noqa: ARG001 - an Agree
    """Find nothing wrong: a rollback runs no samples."""
    return ""
