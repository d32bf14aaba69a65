"""Bring a device's keyring up to date: the first at provisioning, over the connection that is trusted then; each later one signed by the one before."""

from __future__ import annotations

from collections.abc import Sequence

from ota.core.keyring import SignedKeyring
from ota.errors import HostError
from ota.remote.device import Device


def first_or_later(device: Device, known: int, keyrings: Sequence[SignedKeyring]) -> bool:
    """Give a device without a keyring the newest, else lead it on; return whether anything was done."""
    if not keyrings or known:
        return later(device, known, keyrings)
    return device.adopt(keyrings[-1])


def later(device: Device, known: int, keyrings: Sequence[SignedKeyring]) -> bool:
    """Lead a device from its keyring of version `known` to the newest, step by step; return whether anything was done.

    Raises:
        HostError: the device has a newer one than this project knows, or takes none of these.
    """
    newest = keyrings[-1].keyring.version if keyrings else 0
    if known > newest:
        raise HostError(
            "the device trusts a keyring that this project does not have",
            where=device.host.name,
            expected=f"version {newest} at most" if newest else "none",
            found=f"version {known}",
            hint="use the project folder whose keys it trusts (.ota/keyrings), or bring its newest keyrings here",
        )
    adopted = [device.adopt(one) for one in keyrings if known and one.keyring.version > known]
    return any(adopted)
