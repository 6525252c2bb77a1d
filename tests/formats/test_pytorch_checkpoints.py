"""Which tensors of a checkpoint are the model, and what they are called."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn
from torch_files import QUIET, assert_same, by_name, saved, scripted

from quantwidget.formats.pytorch import matches

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

both_containers = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "stream"])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("table", torch.arange(5))

    def forward(self, x):
        return self.norm(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.rnn = nn.LSTM(4, 2)

    def forward(self, x):
        return self.blocks(x)


def assert_holds(record, state_dict, prefix=""):
    tensors = by_name(record)
    assert list(tensors) == [prefix + name for name in state_dict]
    for name, tensor in state_dict.items():
        assert_same(tensors[prefix + name], tensor)


@both_containers
def test_a_state_dict_keeps_its_names_and_order(tmp_path, is_zip):
    net = Net()
    record = saved(tmp_path, net.state_dict(), _use_new_zipfile_serialization=is_zip)
    assert_holds(record, net.state_dict())
    weight = by_name(record)["blocks.1.conv.weight"]
    assert (weight.layer, weight.role) == ("blocks.1.conv", "weight")
    assert record.metadata["kind"] == "state dict"
    assert record.producer == "torch"
    assert record.notes == ()


def test_the_parameters_of_a_quantized_linear_of_torch_1_belong_to_it(tmp_path):
    weight = torch.ones(2, 3)
    record = saved(tmp_path, {"fc.scale": torch.ones(()), "fc._packed_params.weight": weight})
    assert [(tensor.name, tensor.layer, tensor.role) for tensor in record.tensors] == [
        ("fc.scale", "fc", "scale"),
        ("fc._packed_params.weight", "fc", "weight"),
    ]


@pytest.mark.parametrize("key", ["state_dict", "model", "net", "model_state_dict", "module"])
def test_a_checkpoint_shows_its_model_and_tells_what_is_left_out(tmp_path, key):
    net = Block()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    content = {
        "epoch": 3,
        "args": {"lr": 0.1, "sizes": [1, 2]},
        key: net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1).state_dict(),
        "rng_state": torch.get_rng_state(),
    }
    record = saved(tmp_path, content)
    assert_holds(record, net.state_dict())
    assert any("optimizer left out (12 tensors)" in note for note in record.notes)
    assert any("rng_state left out (1 tensors)" in note for note in record.notes)
    assert record.metadata["kind"] == "checkpoint"


def test_wrappers_inside_wrappers_are_left_out_of_names(tmp_path):
    net = Block()
    assert_holds(saved(tmp_path, {"model": {"module": net.state_dict()}, "epoch": 1}), net.state_dict())


def test_two_different_models_keep_their_keys(tmp_path):
    first, second = Block().state_dict(), Block().state_dict()
    record = saved(tmp_path, {"model": first, "net": second})
    assert [tensor.name for tensor in record.tensors] == [
        *(f"model.{name}" for name in first),
        *(f"net.{name}" for name in second),
    ]
    record = saved(tmp_path, {"generator": first, "discriminator": second})
    assert record.tensors[0].name == "generator.table"


def test_a_second_set_of_values_is_listed_under_its_key(tmp_path):
    first, second = Block().state_dict(), Block().state_dict()
    names = [tensor.name for tensor in saved(tmp_path, {"model": first, "ema": second}).tensors]
    assert names == [*first, *(f"ema.{name}" for name in second)]


@pytest.mark.parametrize("order", [("model", "state_dict"), ("state_dict", "model")])
def test_a_module_beside_its_state_dict_is_listed_once(tmp_path, order):
    net = Net()
    parts = {"model": net, "state_dict": net.state_dict()}
    record = saved(tmp_path, {key: parts[key] for key in order})
    assert sorted(by_name(record)) == sorted(net.state_dict())
    assert all(tensor.alias_of is None for tensor in record.tensors)
    assert record.op_types["blocks.0.conv"] == "Conv2d"


@both_containers
def test_a_pickled_module_needs_neither_its_class_nor_its_file(tmp_path, is_zip):
    module = types.ModuleType("a_package_that_will_be_gone")
    sys.modules[module.__name__] = module
    try:
        for kind in (Block, Net):
            gone = type(kind.__name__, (kind,), {"__module__": module.__name__})
            setattr(module, kind.__name__, gone)
        net = module.Net()
        torch.save(net, tmp_path / "model.pt", _use_new_zipfile_serialization=is_zip)
    finally:
        del sys.modules[module.__name__]
    record = saved_record(tmp_path / "model.pt")
    assert_holds(record, net.state_dict())
    assert record.metadata["kind"] == "pickled module"
    assert record.metadata["class"] == "Net"
    assert record.op_types["blocks.0.norm"] == "BatchNorm2d"
    assert record.op_types["rnn"] == "LSTM"


def saved_record(path):
    from quantwidget.formats.pytorch import open_file  # noqa: PLC0415 - no torch, no class: only the path

    return open_file(path)


def test_a_graph_module_is_read_without_its_code(tmp_path):
    graph = torch.fx.symbolic_trace(Block())
    record = saved(tmp_path, {"model": graph, "input_shape": [1, 3, 4, 4]})
    assert_holds(record, graph.state_dict())
    assert record.metadata["class"] == "GraphModule"


def test_modules_that_are_used_twice_are_listed_under_both_names(tmp_path):
    net = nn.Module()
    net.first = nn.Linear(2, 2)
    net.second = net.first
    record = saved(tmp_path, net)
    assert_holds(record, net.state_dict())
    assert by_name(record)["second.weight"].alias_of == "first.weight"
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    for content in (tied, tied.state_dict()):
        assert by_name(saved(tmp_path, content))["1.weight"].alias_of == "0.weight"


def test_tensors_that_a_module_holds_as_attributes_are_listed_last(tmp_path):
    net = nn.Linear(2, 2)
    net.scale_table = torch.arange(4)
    net.again = [net.weight]
    assert list(by_name(saved(tmp_path, net))) == ["weight", "bias", "scale_table"]


@pytest.mark.parametrize(
    "prefix", ["module.", "module.module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."]
)
def test_wrapper_modules_are_left_out_of_layers_and_kept_in_names(tmp_path, prefix):
    state_dict = {prefix + name: tensor for name, tensor in Block().state_dict().items()}
    record = saved(tmp_path, state_dict)
    assert list(by_name(record)) == list(state_dict)
    assert {tensor.layer for tensor in record.tensors} == {"", "conv", "norm"}


def test_a_submodule_that_happens_to_be_called_module_keeps_its_layer(tmp_path):
    record = saved(tmp_path, {"module.weight": torch.ones(1), "head.weight": torch.ones(2)})
    assert [tensor.layer for tensor in record.tensors] == ["module", "head"]


def test_names_are_kept_as_they_are_and_made_unique(tmp_path):
    names = ['quo"te', "<b>x</b>", "line\nend", "雪.weight", "", "a/b.c:0", "' or 1=1"]
    content = {name: torch.ones(1) for name in names}
    assert list(by_name(saved(tmp_path, content))) == names
    nested = {"a": {"b": torch.ones(1)}, "a.b": torch.ones(2), 1: torch.ones(1), "1": torch.ones(1)}
    assert list(by_name(saved(tmp_path, nested))) == ["a.b", "a.b (2)", "1", "1 (2)"]


def test_torchscript_modules_are_listed_like_the_module(tmp_path):
    net = Net().eval()
    record = scripted(tmp_path, torch.jit.script(net))
    assert sorted(by_name(record)) == sorted(net.state_dict())
    for tensor in record.tensors:
        assert_same(tensor, net.state_dict()[tensor.name])
    assert record.metadata["kind"] == "TorchScript"
    assert record.op_types["blocks.1.conv"] == "Conv2d"
    assert record.op_types["rnn"] == "LSTM"


def test_constants_of_frozen_torchscript_are_listed(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)).eval()
    frozen = torch.jit.freeze(torch.jit.trace(net, torch.randn(2, 3)), optimize_numerics=False)
    record = scripted(tmp_path, frozen)
    assert all(tensor.name.startswith("CONSTANTS.c") for tensor in record.tensors)
    wanted = {tensor.numpy().tobytes() for tensor in net.state_dict().values()}
    assert wanted <= {tensor.storage.read().tobytes() for tensor in record.tensors}


def test_mobile_archives_are_read_and_flatbuffers_are_refused(tmp_path):
    net = Block().eval()
    script = torch.jit.script(net)
    script._save_for_lite_interpreter(str(tmp_path / "model.ptl"))
    assert sorted(by_name(saved_record(tmp_path / "model.ptl"))) == sorted(net.state_dict())
    script._save_for_lite_interpreter(str(tmp_path / "flat.ptl"), _use_flatbuffer=True)
    with pytest.raises(ValueError, match="FlatBuffers"):
        saved_record(tmp_path / "flat.ptl")


def test_files_are_recognised_by_their_bytes_and_by_torchs_own_endings(tmp_path):
    torch.save({"x": torch.ones(1)}, tmp_path / "model.bin")
    archive = (tmp_path / "model.bin").read_bytes()[:4096]
    torch.save({"x": torch.ones(1)}, tmp_path / "model.bin", _use_new_zipfile_serialization=False)
    stream = (tmp_path / "model.bin").read_bytes()[:4096]
    for name in ("model.bin", "model.pt", "model", "model.pth.tar"):
        assert matches(tmp_path / name, archive)
        assert matches(tmp_path / name, stream)
    assert matches(tmp_path / "model.PT", b"anything")
    assert not matches(tmp_path / "model.bin", b"\0\0\0\0")
    assert not matches(tmp_path / "model.onnx", b"\x08\x07")
    assert not matches(tmp_path / "arrays.npz", b"PK\x03\x04" + b"\0" * 26 + b"x.npy")
