"""The true 64-bit ARM wheels of both runtimes on emulated Cortex-A53, A72 and A76: what loads, who calculates what, what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.emulated.boards import (
    CORES,
    NATIVE,
    RUNTIMES,
    Reading,
    Readings,
    everywhere,
    missing,
    read_all,
    run,
)
from tests.emulated.cells import try_all
from tests.emulated.files import all_files

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.tensorflow,
    pytest.mark.timeout(900),
]

LITERT, TFLITE = RUNTIMES
QUANT = "mobilenet_v1_0.5_160_quant"
"""Calculates in uint8 with a zero point for weights too, as nothing converts any more."""


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Readings:
    """Return what every board says of every network."""
    return read_all(all_files(tmp_path_factory.mktemp("networks")))


def pairs(readings: Readings, *arithmetic: str) -> list[tuple[str, str, str, Reading, Reading]]:
    """Return (core, runtime, network, this machine's reading, the core's) of the networks that load and calculate so."""
    names = list(readings[NATIVE, LITERT])
    return [one for one in everywhere(readings, names) if one[3].loads and one[3].arithmetic == arithmetic]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_loads_in_an_isolated_python_that_says_it_is_arm(core: str, runtime: str) -> None:
    """The wheel imports under `-I`, as the agent starts it, in a 64-bit ARM process of Python 3.11."""
    module = {LITERT: "ai_edge_litert", TFLITE: "tflite_runtime"}[runtime]
    code = f"import platform, sys, {module}.interpreter; print(platform.machine(), sys.version_info[:2], sys.flags.isolated)"
    assert run(core, runtime, "-c", code).strip() == "aarch64 (3, 11) 1"


def test_a_network_loads_on_a_board_where_it_loads_here(readings: Readings) -> None:
    """Each core loads what x86 loads under the same runtime, and refuses the rest in the same words."""
    names = list(readings[NATIVE, LITERT])
    found = {one[:3]: (one[4].loads, one[4].reason) for one in everywhere(readings, names)}
    assert found == {one[:3]: (one[3].loads, one[3].reason) for one in everywhere(readings, names)}


REFUSED = {
    "an operator that nobody knows": (RUNTIMES, "unknown operator", "unresolved custom op: alien-op"),
    "bytes that are no network": ((LITERT,), "no network", "not a valid Flatbuffer"),
    "a dense layer per channel": (
        (TFLITE,),
        "conv dynamic_range",
        "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'",
    ),
}


@pytest.mark.parametrize(("runtimes", "network", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_board_says_why_a_network_does_not_load(
    runtimes: tuple[str, ...], network: str, words: str, readings: Readings
) -> None:
    """The reason is the runtime's own, on every core."""
    assert all(words in readings[core, runtime][network].reason for core in CORES for runtime in runtimes)


def test_the_delegate_takes_the_same_nodes_as_on_this_machine(readings: Readings) -> None:
    """All nodes, the delegate's own with what goes in and out, are the same on the three cores and x86 within one runtime."""
    different = [
        one[:3]
        for one in everywhere(readings, list(readings[NATIVE, LITERT]))
        if one[3].nodes != one[4].nodes
    ]
    assert different == []


def test_int8_is_delegated_under_one_runtime_and_not_under_the_other(readings: Readings) -> None:
    """On every core ai-edge-litert's delegate takes int8 networks, tflite-runtime's takes float32 and leaves int8."""
    for core, runtime, name, _, there in pairs(readings, "int8"):
        assert (there.partitions > 0) == (runtime == LITERT), (core, runtime, name)
    assert all(there.partitions for *_, there in pairs(readings, "float32"))


def test_int8_outputs_are_the_same_bits_on_every_core_and_here(readings: Readings) -> None:
    """Within one runtime an int8 network gives the same bytes on the A53, A72, A76 and x86, and they say something."""
    compared = pairs(readings, "int8")
    assert len({name for _, _, name, _, _ in compared}) >= 3
    for core, runtime, name, here, there in compared:
        assert there.outputs == here.outputs, (core, runtime, name)
        assert here.informative, name


X86_AWAY = {
    "16x8": (("int16",), 32767, 1.5),
    "int8 with int4 weights": (("int4", "int8"), 127, 8.0),
}
"""What calculates so, how many steps its outputs' type has on one side, and how many steps x86 may be away from ARM."""


@pytest.mark.parametrize(("arithmetic", "levels", "steps"), X86_AWAY.values(), ids=X86_AWAY.keys())
def test_other_integer_outputs_are_the_same_bits_on_every_core(
    arithmetic: tuple[str, ...], levels: int, steps: float, readings: Readings
) -> None:
    """The three cores give the same bytes; x86, whose kernels round otherwise, is some steps of the type away."""
    compared = pairs(readings, *arithmetic)
    if not compared:
        pytest.skip("no scheme makes such a network")
    for core, runtime, name, here, there in compared:
        assert there.outputs == readings[CORES[0], runtime][name].outputs, (core, runtime, name)
        step = np.abs(here.values).max() / levels
        assert np.abs(here.values - there.values).max() <= steps * step, (core, runtime, name)


def test_float_outputs_are_close(readings: Readings) -> None:
    """Floats differ in the last bits, a part in 100,000 of the outputs' range; dynamic range rounds, and may differ by a part in 50."""
    compared = pairs(readings, "float32") + pairs(readings, "float32", "int4")
    assert compared
    for core, runtime, name, here, there in compared:
        part = 0.02 if "dynamic" in name else 1e-5
        assert np.abs(here.values - there.values).max() <= part * np.ptp(here.values), (core, runtime, name)


def test_uint8_weights_differ_on_the_a53_alone(readings: Readings) -> None:
    """A network of the old uint8 kind gives the same bytes everywhere but on the A53 under ai-edge-litert: there 8 steps of 255 at most."""
    compared = [one for one in pairs(readings, "uint8") if one[2] == QUANT]
    if not compared:
        pytest.skip(f"{QUANT}.tflite is not on this machine")
    differing = {one[:2] for one in compared if one[3].outputs != one[4].outputs}
    assert differing <= {("cortex-a53", LITERT)}
    assert all(np.abs(one[3].values - one[4].values).max() <= 8 for one in compared)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_operator_and_version_loads_where_it_loads_here_and_is_foretold(
    runtime: str, tmp_path: Path
) -> None:
    """A file of one operator loads on every core if it does on x86; where the table says whether it does, the table is right."""
    here = try_all(NATIVE, runtime, tmp_path)
    assert 0 < sum(here.loading.values()) < here.foretold
    for core in CORES:
        there = try_all(core, runtime, tmp_path)
        assert there.loading == here.loading, core
        assert there.wrong == (), core
