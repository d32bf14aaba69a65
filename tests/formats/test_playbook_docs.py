"""docs/playbook.md names every key that a playbook may hold, and its example is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ota.formats import playbook_schema
from ota.formats.playbook import load_playbook

TEXT = (Path(__file__).parent.parent.parent / "docs" / "playbook.md").read_text(encoding="utf-8")
SHAPES = [
    playbook_schema.PlayShape,
    playbook_schema.ModelShape,
    playbook_schema.SelectShape,
    playbook_schema.PreprocessingShape,
    playbook_schema.LimitsShape,
    playbook_schema.MeasureShape,
    playbook_schema.DeployShape,
    playbook_schema.HealthCheckShape,
    playbook_schema.GateShape,
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_key_is_explained(shape: type[playbook_schema.PlayShape]) -> None:
    """Each key of a mapping has a row in the reference."""
    explained = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert set(shape.model_fields) <= explained


def test_the_example_parses(tmp_path: Path) -> None:
    """The example of the reference is a playbook without faults."""
    found = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    path = tmp_path / "site.yaml"
    path.write_text(found[1])
    (play,) = load_playbook(path, files=False).plays
    assert play.select is not None
    assert play.select.scope == ("old_boards", "new_boards")
