"""What a made file depends on, as the key that it is kept under: the model, the scheme's settings, the data it looks at, the tool's version."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import metadata

from ota.core.release import Digest
from ota.core.scheme import Scheme, Tool
from ota.quantize.recipe import RECIPES
from ota.quantize.rules import RULES

_FORMAT = 1
_TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64", "tensorflow-macos")


def converter_version() -> str:
    """Return the version of TensorFlow, without loading it; empty where it is not installed."""
    return next(filter(None, map(_version, _TENSORFLOW)), "")


def quantizer_version() -> str:
    """Return the versions of LiteRT Quantizer and of the runtime it calibrates with, without loading them; empty where it is not installed."""
    own = _version("litert-quantizer")
    return own and f"{own} ai-edge-litert {_version('ai-edge-litert')}"


def key_of(scheme: Scheme, model: Digest, representative: Digest | None) -> str:
    """Return the key of what `scheme` makes; `model` is the source for the converter, the float32 .tflite for the quantizer.

    The representative data counts only where the scheme looks at it.
    """
    parts: dict[str, object] = {
        "format": _FORMAT,
        "model": model.hex,
        "scheme": scheme.name,
        "representative": representative.hex if representative and scheme.representative else "",
    }
    if scheme.tool is Tool.CONVERTER:
        parts |= {"recipe": asdict(RECIPES[scheme.name]), "converter": converter_version()}
    else:
        parts |= {"rules": repr(RULES[scheme.name]), "quantizer": quantizer_version()}
    return f"convert-{Digest.of(json.dumps(parts, sort_keys=True).encode()).hex}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
