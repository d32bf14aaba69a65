"""The wheels for devices: the tags that fit a glibc, downloads that fail in words, and files that are kept and checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ota.core.runtime import RuntimeChoice
from ota.errors import OtaError
from ota.wheels import fetch, platform_tags


def choice(**fields: object) -> RuntimeChoice:
    """Return a choice of a small package that is everywhere, for a 64-bit Raspberry Pi."""
    known: dict[str, object] = {
        "package": "ai-edge-litert", "version": "2.3.0", "architecture": "aarch64", "python": (3, 11), "glibc": (2, 36),
        "requirements": ("six",), "with_dependencies": False, "system_site_packages": False,
    }  # fmt: skip
    return RuntimeChoice(**{**known, **fields})  # type: ignore[arg-type]


def test_tags_go_down_from_the_devices_glibc() -> None:
    """Every manylinux tag up to the device's glibc is offered, the older names beside them, none above it."""
    tags = platform_tags("aarch64", (2, 31))
    assert tags[0] == "manylinux_2_31_aarch64"
    assert "manylinux_2_17_aarch64" in tags
    assert "manylinux2014_aarch64" in tags
    assert "manylinux_2_34_aarch64" not in tags


def test_wheels_are_downloaded_once_and_checked(tmp_path: Path) -> None:
    """A second fetch takes what is kept; a kept file that was damaged is downloaded again; a pip for the device comes along."""
    try:
        first = fetch(choice(), tmp_path)
    except OtaError as error:
        pytest.skip(f"no package index in reach: {error.problem}")
    names = sorted(wheel.filename.split("-")[0] for wheel in first)
    assert names == ["pip", "six"]
    stamps = {wheel.path: wheel.path.stat().st_mtime_ns for wheel in first}
    assert fetch(choice(), tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    first[0].path.write_bytes(b"damaged")
    again = fetch(choice(), tmp_path)
    assert [wheel.digest for wheel in again] == [wheel.digest for wheel in first]


def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    """What pip cannot find is an error with its own last words and nothing half kept."""
    with pytest.raises(OtaError) as caught:
        fetch(choice(requirements=("no-such-package-of-ota==99",)), tmp_path)
    assert caught.value.hint
    assert list(tmp_path.rglob("*.whl")) == []


def test_a_python_without_pip_is_told(tmp_path: Path) -> None:
    """Where the controller's own Python has no pip, the message says so."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(OtaError) as caught:
        fetch(choice(), tmp_path / "wheels", python=str(python))
    assert "No module named pip" in caught.value.render()


def test_what_was_kept_by_hand_is_not_trusted(tmp_path: Path) -> None:
    """A folder whose record does not fit its files is downloaded anew or refused, never used."""
    folder = tmp_path / "ai-edge-litert-2.3.0-cp311-aarch64-glibc2.36"
    folder.mkdir()
    (folder / "six-1-py3-none-any.whl").write_bytes(b"evil")
    (folder / "complete.json").write_text(json.dumps([]))
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(OtaError):
        fetch(choice(), tmp_path, python=str(python))
