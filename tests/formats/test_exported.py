"""Archives of torch.export: layers, roles and what the graph says about weights."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from exported_files import Held, archived, entries, saved, state
from torch import nn
from torch._export.serde.serialize import serialize
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.testing.pt2e import _xnnpack_quantizer as xnnpack

import quantwidget as qw

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)
        self.tied = self.fc.weight
        self.table = nn.Embedding(7, 5)
        self.register_buffer("unread", torch.ones(2))

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3))) + self.table(torch.tensor([1]))


EXAMPLE = (torch.ones(2, 3, 8, 8),)


@pytest.fixture
def plain(tmp_path):
    return saved(tmp_path / "plain.pt2", Network(), EXAMPLE)


@pytest.fixture
def quantized(tmp_path):
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
    prepared = prepare_pt2e(
        torch.export.export(Network(), EXAMPLE).module(), xnnpack.XNNPACKQuantizer().set_global(config)
    )
    prepared(*EXAMPLE)
    return saved(tmp_path / "quantized.pt2", convert_pt2e(prepared), EXAMPLE)


def rewritten(path, change, name="changed.pt2"):
    contents = entries(path)
    change(contents)
    target = path.with_name(name)
    target.write_bytes(archived(contents))
    return target


def edited(entry, change):
    def edit(contents):
        content = json.loads(contents[entry])
        change(content)
        contents[entry] = json.dumps(content).encode()

    return edit


def assert_same_state(index, path):
    expected = state(path)
    assert index.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(index.tensors[name].values(), tensor.detach().numpy())


def test_layers_roles_and_classes_come_from_the_program(plain):
    index = qw.open_model(plain)
    assert index.format == "pytorch"
    assert index.metadata["kind"] == "exported program"
    assert index["layers"]["conv"] == {"weight": "conv.weight", "bias": "conv.bias"}
    assert index.layers["conv"].op_type == "Conv2d"
    assert index.layers["table"].op_type == "Embedding"
    assert_same_state(index, plain)


def test_tied_weights_are_counted_once_and_the_one_that_is_read_holds_them(plain):
    tensors = qw.open_model(plain).tensors
    assert {tensors["tied"].alias_of, tensors["fc.weight"].alias_of} == {None, "fc.weight"}
    assert tensors["tied"].used_by_graph
    assert tensors["tied"].note == ""


def test_what_no_node_reads_is_told(plain):
    unread = qw.open_model(plain).tensors["unread"]
    assert unread.used_by_graph is False
    assert unread.note == "not used by the graph"
    assert unread.is_readable


def test_quantized_weights_take_the_place_of_the_floats_they_came_from(quantized):
    index = qw.open_model(quantized)
    roles = index["layers"]["conv"]
    codes = index.tensors[roles["weight"]]
    assert codes.name.startswith("_frozen_param")
    assert codes.quant.source == "quantized_decomposed.dequantize_per_channel"
    assert roles["weight_scale"].startswith("_scale_")
    assert roles["weight_zero_point"].startswith("_zero_point_")
    assert roles["weight (not used)"] == "conv.weight"
    assert index.tensors["conv.weight"].note == "not used by the graph"


def test_floats_that_are_quantized_when_the_program_runs_are_told(tmp_path):
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
    prepared = prepare_pt2e(
        torch.export.export(Network(), EXAMPLE).module(), xnnpack.XNNPACKQuantizer().set_global(config)
    )
    prepared(*EXAMPLE)
    path = saved(tmp_path / "unfolded.pt2", convert_pt2e(prepared, fold_quantize=False), EXAMPLE)
    weight = qw.open_model(path).tensors["conv.weight"]
    assert not weight.is_quantized
    assert weight.is_readable
    assert "quantized_decomposed.quantize_per_channel" in weight.note


def test_a_restricted_range_is_what_the_node_states(quantized):
    scheme = qw.open_model(quantized).tensors["_frozen_param0"].quant
    assert (scheme.code_min, scheme.code_max) == (-127, 127)


@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.anything"])
def test_archives_are_known_by_their_bytes(plain, name):
    target = plain.with_name(name)
    target.write_bytes(plain.read_bytes())
    assert qw.open_model(target).metadata["kind"] == "exported program"


def test_archives_of_before_torch_2_8_are_read(tmp_path):
    program = torch.export.export(Network(), EXAMPLE)
    artifact = serialize(program)
    contents = {
        "serialized_exported_program.json": artifact.exported_program,
        "serialized_state_dict.pt": artifact.state_dict,
        "serialized_constants.pt": artifact.constants,
        "serialized_example_inputs.pt": artifact.example_inputs,
        "version": b"8.20",
    }
    path = tmp_path / "early.pt2"
    path.write_bytes(archived(contents, ""))
    index = qw.open_model(path)
    assert index["layers"]["conv"] == {"weight": "conv.weight", "bias": "conv.bias"}
    assert index.layers["fc"].op_type == "Linear"
    expected = {**program.state_dict, **program.constants}
    assert index.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(index.tensors[name].values(), tensor.detach().numpy())


def test_weights_in_one_pickled_dictionary_are_read(plain):
    def pickle_weights(contents):
        program = torch.export.load(plain)
        contents["data/weights/model.pt"] = serialize(program).state_dict
        for name in [name for name in contents if name.startswith("data/weights/") and not name.endswith(".pt")]:
            del contents[name]

    assert_same_state(qw.open_model(rewritten(plain, pickle_weights)), plain)


def test_compressed_archives_are_read(plain):
    target = plain.with_name("packed.pt2")
    target.write_bytes(archived(entries(plain), compression=zipfile.ZIP_DEFLATED))
    assert_same_state(qw.open_model(target), plain)


def test_several_programs_are_told_apart_by_their_names(plain):
    def copy(contents):
        contents["models/second.json"] = contents["models/model.json"]
        for folder, kind in (("weights", "weights"), ("constants", "constants")):
            known = contents[f"data/{folder}/model_{kind}_config.json"]
            contents[f"data/{folder}/second_{kind}_config.json"] = known

    index = qw.open_model(rewritten(plain, copy))
    assert index["layers"]["second.conv"] == {"weight": "second.conv.weight", "bias": "second.conv.bias"}
    assert index.layers["model.conv"].op_type == "Conv2d"


def test_weights_are_shown_without_a_graph_that_can_be_read(plain):
    index = qw.open_model(rewritten(plain, edited("models/model.json", dict.clear)))
    assert_same_state(index, plain)
    assert any("the graph is not read" in note for note in index.notes)
    assert index["layers"]["conv"] == {"weight": "conv.weight", "bias": "conv.bias"}


def test_compiled_code_without_a_program_is_refused(plain):
    def compiled(contents):
        del contents["models/model.json"]

    with pytest.raises(qw.UnsupportedFormatError, match="only compiled code"):
        qw.open_model(rewritten(plain, compiled))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axis": {"as_int": 7}}, "axis 7 is not a dimension"),
        ({"scales": {"as_tensor": {"name": "x"}}}, "computed when the model runs"),
        ({"scales": {"as_none": True}}, "has no scale"),
        ({"zero_points": {"as_tensor": {"name": "b_codes"}}}, "does not fit"),
    ],
)
def test_schemes_that_cannot_be_put_together_are_told(tmp_path, change, words):
    path = saved(tmp_path / "held.pt2", Held(np.random.default_rng(1), "per_channel"), (torch.zeros(1),))

    def change_arguments(program):
        (node,) = [node for node in program["graph_module"]["graph"]["nodes"] if "dequantize" in node["target"]]
        for entry in node["inputs"]:
            entry["arg"] = change.get(entry["name"], entry["arg"])

    tensor = qw.open_model(rewritten(path, edited("models/model.json", change_arguments))).tensors["codes"]
    assert words in tensor.note
    assert tensor.quant.status == "undecoded"
    assert not tensor.is_readable
