"""What devices answer, parsed into typed values: every field checked, every size bounded, or a HostError with the host's name."""

from __future__ import annotations

from ota.core.facts import Facts, HeldRelease, Reverted, Runtime, SlotState, Verified
from ota.core.journal_head import JournalState
from ota.core.release import RELEASE_ID_DIGITS, Digest
from ota.core.setting import Setting
from ota.errors import HostError
from ota.remote.answers import Held, ReadBack
from ota.remote.dialogue import Fields, Json, number, numbers, optional_text, records, text

_MOST_PROCESSORS = 4096
_MOST_KHZ = 100_000_000
_MOST_FEATURES = 1024
_MOST_LETTERS = 64
_MOST_WORDS = 300


def optional_digest(fields: Fields, name: str, host: str) -> Digest | None:
    """Return a field that must be a SHA-256 in hex or null; HostError otherwise."""
    value = optional_text(fields, name, host)
    try:
        return None if value is None else Digest(value)
    except ValueError as error:
        raise HostError(f"the device answers a wrong '{name}'", where=host, found=str(error)) from error


def runtime_of(fields: Fields, host: str) -> Runtime:
    """Return the runtime that a record describes; HostError where it is none."""
    return Runtime(
        id=text(fields, "id", host),
        package=text(fields, "package", host),
        version=text(fields, "version", host),
        python=text(fields, "python", host),
        wheel_sha256=_sha256(fields, "wheel_sha256", host),
    )


def facts_of(fields: Fields, host: str) -> Facts:
    """Return the facts that an answer holds; HostError where one is missing or wrong."""
    python = numbers(fields, "python", host, most=10_000)
    if len(python) != 3:
        raise HostError("the device answers a wrong 'python'", where=host, found=str(python)[:80])
    return Facts(
        boot_id=text(fields, "boot_id", host),
        architecture=text(fields, "architecture", host),
        python=(python[0], python[1], python[2]),
        python_executable=text(fields, "python_executable", host),
        python_bits=number(fields, "python_bits", host),
        libc=text(fields, "libc", host),
        system_numpy=text(fields, "system_numpy", host),
        memory_total_bytes=number(fields, "memory_total_bytes", host),
        memory_available_bytes=number(fields, "memory_available_bytes", host),
        disk_free_bytes=number(fields, "disk_free_bytes", host),
        cpu_model=text(fields, "cpu_model", host),
        cpu_count=number(fields, "cpu_count", host),
        os=text(fields, "os", host),
        kernel=text(fields, "kernel", host),
        hostname=text(fields, "hostname", host),
        root=text(fields, "root", host),
        runtimes=tuple(runtime_of(record, host) for record in records(fields, "runtimes", host)),
        board_revision=text(fields, "board_revision", host, most=_MOST_WORDS),
        serial_sha256=_sha256(fields, "serial_sha256", host),
        firmware=text(fields, "firmware", host, most=_MOST_WORDS),
        cpu_features=_words(fields, "cpu_features", host),
        affinity=_bounded(numbers(fields, "affinity", host, most=_MOST_PROCESSORS), "affinity", host),
        clock_limits_khz=_clock_limits(fields, host),
        clock_source=text(fields, "clock_source", host, most=_MOST_WORDS),
    )


def _sha256(fields: Fields, name: str, host: str) -> str:
    """Return a field that is a SHA-256 in hex, or empty or left out."""
    digest = optional_digest(fields, name, host) if fields.get(name) else None
    return "" if digest is None else digest.hex


def _words(fields: Fields, name: str, host: str) -> tuple[str, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > _MOST_FEATURES:
        raise _wrong(name, host, value)
    if not all(isinstance(word, str) and len(word) <= _MOST_LETTERS for word in value):
        raise _wrong(name, host, value)
    return tuple(str(word) for word in value)


def _clock_limits(fields: Fields, host: str) -> tuple[tuple[int, int], ...]:
    """Return (least, highest) of each policy; the device sends them one after the other."""
    name = "clock_limits_khz"
    ends = _bounded(numbers(fields, name, host, most=_MOST_KHZ), name, host)
    pairs = tuple(zip(ends[::2], ends[1::2], strict=False))
    if len(ends) % 2 or any(least > highest for least, highest in pairs):
        raise _wrong(name, host, list(ends))
    return pairs


def _bounded(values: tuple[int, ...], name: str, host: str) -> tuple[int, ...]:
    if len(values) > _MOST_PROCESSORS:
        raise HostError(f"the device answers a wrong '{name}'", where=host, found=f"{len(values)} numbers")
    return values


def _wrong(name: str, host: str, found: Json) -> HostError:
    return HostError(f"the device answers a wrong '{name}'", where=host, found=repr(found)[:100])


def slot_of(fields: Fields, host: str) -> SlotState:
    """Return the slot that an answer describes; HostError where it is none."""
    return SlotState(
        model=optional_text(fields, "model", host),
        current=optional_text(fields, "current", host),
        previous=optional_text(fields, "previous", host),
        pending=optional_text(fields, "pending", host),
        current_digest=optional_digest(fields, "current_sha256", host),
        rolled_back_from=optional_text(fields, "rolled_back_from", host),
        releases=tuple(
            HeldRelease(
                id=text(record, "id", host),
                model_digest=optional_digest(record, "model_sha256", host),
                intact=None if record.get("intact", False) is None else record.get("intact") is True,
                setting=_setting(record.get("setting"), host),
            )
            for record in records(fields, "releases", host)
        ),
        disk_free_bytes=number(fields, "disk_free_bytes", host),
        keyring=number(fields, "keyring", host),
        reverted=_reverted(fields.get("reverted"), host),
    )


def held_of(fields: Fields, host: str) -> Held:
    """Return which files are there, and which have begun to come; HostError where the answer is none."""
    return Held(whole=_digests(fields, "held", host), begun=_digests(fields, "begun", host))


def read_back_of(fields: Fields, host: str) -> ReadBack:
    """Return what was read back behind a switch; HostError where the answer says nothing of it."""
    return ReadBack(
        current=optional_text(fields, "current", host),
        digest=optional_digest(fields, "current_sha256", host),
        changed=fields.get("changed", True) is True,
    )


def _digests(fields: Fields, name: str, host: str) -> frozenset[Digest]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise _wrong(name, host, value)
    try:
        return frozenset(Digest(one) for one in value if isinstance(one, str))
    except ValueError as error:
        raise HostError(f"the device answers a wrong '{name}'", where=host, found=str(error)) from error


def verified_of(fields: Fields, host: str) -> Verified:
    """Return what a verification found; HostError where the answer is none."""
    return Verified(unsigned=text(fields, "unsigned", host, most=2000), journal=journal_of(fields, host))


def journal_of(fields: Fields, host: str) -> JournalState:
    """Return what a device says of its journal; HostError where the answer is none."""
    journal = fields.get("journal")
    if not isinstance(journal, dict):
        raise HostError("the device answers a wrong 'journal'", where=host, found=repr(journal)[:100])
    return JournalState(
        lines=number(journal, "lines", host),
        torn=number(journal, "torn", host),
        broken=None if journal.get("broken") is None else number(journal, "broken", host),
        head=text(journal, "head", host, most=64),
        earlier=text(journal, "earlier", host, most=64),
    )


def _reverted(value: Json, host: str) -> Reverted | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise HostError("the device answers a wrong 'reverted'", where=host, found=repr(value)[:100])
    return Reverted(
        release=text(value, "release", host, most=RELEASE_ID_DIGITS),
        to=optional_text(value, "to", host),
        why=text(value, "why", host, most=400),
    )


def _setting(value: Json, host: str) -> Setting | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise HostError("the device answers a wrong 'setting'", where=host, found=repr(value)[:100])
    return Setting(
        runtime=text(value, "runtime", host, most=200), threads=number(value, "threads", host, most=4096)
    )
