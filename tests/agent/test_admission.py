"""Which devices a manifest is for: by architecture, by the board's model without its revision, for all where it names none."""

from __future__ import annotations

import pytest

from ota.agent.admission import refuse_incompatible
from ota.agent.dialogue import RefusedError

PI_4 = "Raspberry Pi 4 Model B Rev 1.4"
CASES = {
    "names nothing": ({}, "aarch64", PI_4, ""),
    "the architecture": ({"compatible": ["aarch64", "x86_64"]}, "aarch64", PI_4, ""),
    "another architecture": ({"compatible": ["x86_64"]}, "aarch64", PI_4, "is for x86_64"),
    "the board": ({"compatible": ["aarch64"], "boards": [PI_4]}, "aarch64", PI_4, ""),
    "a later revision": ({"boards": [PI_4]}, "aarch64", "Raspberry Pi 4 Model B Rev 1.5", ""),
    "an earlier form of its name": ({"boards": [PI_4]}, "aarch64", "Raspberry Pi 4 Model B", ""),
    "another board": ({"boards": [PI_4]}, "aarch64", "Raspberry Pi 3 Model B Rev 1.4", "was measured on"),
    "a board that tells no model": ({"boards": [PI_4]}, "aarch64", "", "is of no model that it tells"),
    "the board under another architecture": (
        {"compatible": ["armv7l"], "boards": [PI_4]}, "aarch64", PI_4, "is for armv7l"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "machine", "model", "said"), CASES.values(), ids=CASES)
def test_a_manifest_is_for_this_device_or_refused(
    content: dict[str, object], machine: str, model: str, said: str
) -> None:
    """The refusal says for what it is, what this device is, and the way out."""
    if not said:
        refuse_incompatible("r", content, machine, model)
        return
    with pytest.raises(RefusedError, match=said) as refused:
        refuse_incompatible("r", content, machine, model)
    assert refused.value.code == "incompatible"
