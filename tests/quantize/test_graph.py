"""A graph is read from a file as the public schema has it, and no file, however crafted, does more than be refused."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys
from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.core.flatbuffer_tables import FlatbufferError
from ota.core.graph import Graph, Quantization
from ota.core.graph_difference import differences, sentences
from ota.quantize.graph import read_graph, read_parts
from ota.quantize.graph_operators import OPERATORS, TYPES
from scripts.one_operator import one_custom, one_operator
from scripts.operator_forms import forms
from scripts.operator_shapes import OPERATORS as SHAPES
from tests.agent.networks import custom, dense, dense_int8
from tests.quantize.tiny_tflite import tiny_tflite

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT.parent / "shared" / "data").glob("*/*.tflite"))
SMALL = {
    "one float layer": dense([[1.0, 2.0]]),
    "one int8 layer": dense_int8([[1, 2]], scales=(0.5, 0.25, 1.0)),
    "a custom operator": custom(3),
    "no operator": tiny_tflite(entry="uint8", weights="int8"),
    "a composite with a body": one_operator("STABLEHLO_COMPOSITE", 1),
    "weights in blocks": next(form.content for form in forms() if "blocks" in form.form),
}


def _oracle(content: bytes) -> dict[str, object]:
    """Return what the schema module that ai-edge-litert ships reads from a file."""
    model = schema.ModelT.InitFromPackedBuf(content)
    graph, names = (
        model.subgraphs[0],
        {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)},
    )
    codes = [
        (code.customCode.decode() if code.builtinCode == 32 else names[code.builtinCode], code.version)
        for code in model.operatorCodes or []
    ]
    return {
        "inputs": [int(n) for n in graph.inputs],
        "outputs": [int(n) for n in graph.outputs],
        "tensors": [_oracle_tensor(tensor, model) for tensor in graph.tensors],
        "nodes": [
            (*codes[node.opcodeIndex], [int(n) for n in node.inputs], [int(n) for n in node.outputs])
            for node in graph.operators or []
        ],
        "description": (model.description or b"").decode(),
    }


def _oracle_tensor(tensor: schema.TensorT, model: schema.ModelT) -> tuple[object, ...]:
    how = tensor.quantization
    scales = [] if how is None or how.scale is None else [float(scale) for scale in how.scale]
    zeros = [] if how is None or how.zeroPoint is None else [int(zero) for zero in how.zeroPoint]
    data = model.buffers[tensor.buffer].data
    return (
        (tensor.name or b"").decode(), TYPES[tensor.type], [] if tensor.shape is None else [int(n) for n in tensor.shape],
        len(scales), scales[:4], zeros[:4] if scales else [], 0 if data is None else len(data),
    )  # fmt: skip


def _ours(graph: Graph) -> dict[str, object]:
    return {
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "tensors": [
            (
                tensor.name, tensor.type, list(tensor.shape), (tensor.quantization or Quantization()).count,
                list((tensor.quantization or Quantization()).scales), list((tensor.quantization or Quantization()).zero_points),
                tensor.size_bytes,
            )
            for tensor in graph.tensors
        ],
        "nodes": [(node.operator, node.version, list(node.inputs), list(node.outputs)) for node in graph.nodes],
        "description": graph.description,
    }  # fmt: skip


@pytest.mark.parametrize("content", SMALL.values(), ids=SMALL.keys())
def test_a_small_file_is_read_as_the_schema_reads_it(content: bytes) -> None:
    """Tensors, nodes, ends and description agree with the schema's own Python."""
    assert _ours(read_graph(content)) == _oracle(content)


@pytest.mark.parametrize("name", SHAPES)
def test_every_probed_operator_is_read_as_the_schema_reads_it(name: str) -> None:
    """Names, versions and tensors of each operator agree with the schema's own Python."""
    content = one_operator(name, 3)
    assert _ours(read_graph(content)) == _oracle(content)
    assert (name, 3, 1) in {(use.name, use.version, use.count) for use in read_graph(content).operators}


@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.name if path else "none")
def test_a_real_file_is_read_as_the_schema_reads_it(path: Path | None) -> None:
    """Files of other makers, quantized and not, agree with the schema's own Python."""
    if path is None:
        pytest.skip("the real data is not on this machine (shared/data)")
    content = path.read_bytes()
    assert _ours(read_graph(content)) == _oracle(content)


def test_the_names_are_those_of_the_schema() -> None:
    """Every operator and every type of the newest schema here has its name at its number."""
    named = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    assert tuple(named[number] for number in range(len(named))) == OPERATORS
    types = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    assert tuple(types[number] for number in range(len(types))) == TYPES


def test_a_custom_operator_has_its_own_name() -> None:
    """It is listed as custom, in its version, with its count."""
    (use,) = read_graph(one_custom("no-such-operator")).operators
    assert (use.name, use.version, use.count, use.custom) == ("no-such-operator", 1, 1, True)


def test_operators_of_called_graphs_count() -> None:
    """What a composite's body uses must be known to the runtime too."""
    content = one_operator("STABLEHLO_COMPOSITE", 1)
    assert [use.name for use in read_graph(content).operators] == ["NEG", "STABLEHLO_COMPOSITE"]
    assert [len(part.nodes) for part in read_parts(content)] == [1, 1]
    assert [form.operator for form in read_graph(content).forms] == ["NEG", "STABLEHLO_COMPOSITE"]


def test_scales_in_blocks_are_seen() -> None:
    """A block size is read from the details of a quantization."""
    graph = read_graph(SMALL["weights in blocks"])
    assert 32 in {tensor.quantization.block_size for tensor in graph.tensors if tensor.quantization}


def test_the_version_that_a_converter_asks_for_is_read(shared: Path) -> None:
    """The metadata's text ends at its first zero byte."""
    content = (shared / "models" / "model_float32.tflite").read_bytes()
    assert read_graph(content).min_runtime_version == "1.6.0"


def test_changes_between_two_files_are_sentences(shared: Path) -> None:
    """The int8 file of the shared network has casts at both ends and int8 in between."""
    base, other = (
        read_graph((shared / "models" / f"model_{name}.tflite").read_bytes())
        for name in ("float32", "int8_floatio")
    )
    assert sentences(differences(base, base)) == ()
    assert sentences(differences(base, other))[:5] == (
        "1 DEQUANTIZE added: right before the output",
        "1 QUANTIZE added: right after the input",
        "28 filters int8 per channel, before 28 float32",
        "28 biases int32, before 28 float32",
        "31 inner tensors int8, before 29 float32",
    )


def read_or_refuse(content: bytes) -> None:
    """Read a file; anything but a graph or a FlatbufferError is a fault."""
    with contextlib.suppress(FlatbufferError):
        read_graph(content)


@pytest.mark.parametrize("content", SMALL.values(), ids=SMALL.keys())
def test_a_file_cut_anywhere_is_read_or_refused(content: bytes) -> None:
    """Every prefix of a file is a graph or a FlatbufferError."""
    for length in range(len(content)):
        read_or_refuse(content[:length])


@pytest.mark.parametrize("content", SMALL.values(), ids=SMALL.keys())
def test_a_file_with_one_byte_changed_is_read_or_refused(content: bytes) -> None:
    """Every byte set to 0, 127, 128 and 255 and with one bit flipped, one at a time."""
    for place in range(len(content)):
        for value in (0, 127, 128, 255, content[place] ^ 1 << place % 8):
            read_or_refuse(content[:place] + bytes([value]) + content[place + 1 :])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_file_with_many_words_changed_is_read_or_refused(data: st.DataObject) -> None:
    """Any words anywhere, small and huge, are a graph or a FlatbufferError."""
    content = bytearray(data.draw(st.sampled_from(list(SMALL.values()))))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) // 4 - 1)) * 4
        struct.pack_into("<I", content, place, data.draw(st.integers(0, 2**32 - 1) | st.integers(0, 256)))
    read_or_refuse(bytes(content))


def test_a_large_file_with_noise_is_read_or_refused(shared: Path) -> None:
    """Noise in the tables of a real file, a hundred times, is a graph or a FlatbufferError."""
    content = (shared / "foreign" / "hello_world_int8.tflite").read_bytes()
    generator = random.Random(7)
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
        read_or_refuse(bytes(damaged))


def _bomb(entries: int) -> bytes:
    """Return a file that names one graph so many times, which names one tensor as often."""
    builder = flatbuffers.Builder(0)
    builder.StartObject(8)
    tensor = builder.EndObject()
    tensors = _vector(builder, tensor, entries)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, tensors, 0)
    graph = builder.EndObject()
    graphs = _vector(builder, graph, entries)
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _vector(builder: flatbuffers.Builder, offset: int, entries: int) -> int:
    builder.StartVector(4, entries, 4)
    for _ in range(entries):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def test_a_file_that_multiplies_itself_is_refused() -> None:
    """No more is read than a file of its length can hold: 5,000 times 5,000 tensors in 40 kB are not true."""
    assert len(read_parts(_bomb(20))) == 20
    with pytest.raises(FlatbufferError, match="too long to be true"):
        read_graph(_bomb(5000))


CRAFTED = {
    "nothing": (b"", "the identifier TFL3 is missing"),
    "another file": (b"\x00" * 64, "the identifier TFL3 is missing"),
    "only the head": (b"\x10\x00\x00\x00TFL3", "the file is cut short or damaged"),
    "a root behind the end": (b"\xff\xff\xff\xffTFL3" + bytes(64), "the file is cut short or damaged"),
}


@pytest.mark.parametrize(("content", "message"), CRAFTED.values(), ids=CRAFTED.keys())
def test_what_is_no_file_is_refused_in_words(content: bytes, message: str) -> None:
    """The message is one clause that says what is wrong."""
    with pytest.raises(FlatbufferError, match=f"^{message}$"):
        read_graph(content)


def test_reading_a_graph_loads_neither_numpy_nor_tensorflow() -> None:
    """A deployment that looks at a file stays light."""
    code = (
        "import sys; from ota.quantize.graph import read_graph; from ota.quantize.flatbuffer import read_network;"
        "print(sorted({'numpy', 'tensorflow', 'flatbuffers', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
