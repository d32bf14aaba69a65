"""What one host shall run, and the outside world that its job is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ota.core.events import Event
from ota.core.facts import Facts, Runtime, SlotState
from ota.core.host_state import HostOutcome
from ota.core.inventory import Host
from ota.core.keyring import SignedKeyring
from ota.core.order_text import Authority
from ota.core.playbook import DeploySpec
from ota.core.release import Digest, Release
from ota.remote.device import Device
from ota.workflows.crossings import Crossings
from ota.workflows.heads import JournalMemory

if TYPE_CHECKING:
    from ota.workflows.steps import Steps

JobName = Literal["deploy", "look", "return", "look back"]
"""Deploy, say what a deployment would do, roll back, say what a rollback would do."""
Connect = Callable[[Host], AbstractContextManager[Device]]
"""Opens a device for as long as the context lasts; may be called again for the same host."""


class Agree(Protocol):
    """Compare a device's answers to the probe samples with those that were measured."""

    def __call__(self, digest: Digest, host: str, runtime: str, outputs: bytes) -> str:
        """Return why float32 `outputs` of the candidate `digest` are not to be trusted, empty where they are."""
        ...


class Gate(Protocol):
    """Holds a release's model to bounds on the device."""

    def __call__(
        self, device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps
    ) -> Callable[[], None]:
        """Make ready, before the activation, and return what measures behind it; that raises GateError where a bound is not kept.

        Raises:
            HostError: it cannot be measured there.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A deployment to one host. `probe` is a small dataset to try the model with; None: it is not tried.

    `signatures` of the manifest are (name, armored); `keyrings` all of the project's, the oldest first, to lead a device that lags behind;
    `authority` signs the order to activate; `gate` is what the model has to pass there, None: nothing.
    """

    release: Release
    spec: DeploySpec
    probe: Digest | None
    signatures: tuple[tuple[str, str], ...] = ()
    keyrings: tuple[SignedKeyring, ...] = ()
    authority: Authority | None = None
    gate: Gate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """A rollback of one host: to the release `to`, or to its own previous one where that is None.

    `authority` signs the order where the device asks for one; `keyrings` are all of the project's, the oldest first, to lead a device there that lags behind.
    """

    model: str
    spec: DeploySpec
    to: str | None = None
    keyrings: tuple[SignedKeyring, ...] = ()
    authority: Authority | None = None


class Elsewhere(Protocol):
    """Has a host's job carried out near the device."""

    def __call__(self, job: JobName, host: Host, order: Order | Return, ends: Ends) -> HostOutcome:
        """Return how the job ended; `ends` serve whoever carries it out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The outside world of a host's job.

    `crossings` say in which form files cross and time them. `runtime_for` returns the runtime called by its label, or the preferred one; `stopping` says whether a person asked to stop; `met` is told
    what a device has, before anything changes there; `journals` holds a device's journal against what is known of it, when its job has ended. `elsewhere` None: jobs are carried
    out here.
    """

    connect: Connect
    emit: Callable[[Event], None]
    blob: Callable[[Digest], Path]
    runtime_for: Callable[[Host, Facts, str | None], Runtime]
    agree: Agree
    crossings: Crossings = field(default_factory=Crossings)
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep
    met: Callable[[Host, SlotState], None] = lambda _host, _slot: None
    journals: JournalMemory | None = None
    elsewhere: Elsewhere | None = None
