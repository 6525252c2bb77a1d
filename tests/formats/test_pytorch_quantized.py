"""Quantized weights wherever torch packs them, held against the module that was saved."""

from __future__ import annotations

import copy
import enum
import sys
import types

import numpy as np
import pytest
import torch
import torch.ao.quantization as tq
from torch import nn
from torch_files import QUIET, assert_same, by_name, saved, scripted

from quantwidget.formats.pytorch import open_file
from quantwidget.tensor import TensorRef

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

ENGINES = [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]
"""Those of this machine's processor: fbgemm, x86, onednn and qnnpack on a PC."""
LAYERS = {
    "Conv1d": (lambda: nn.Conv1d(3, 4, 3), (2, 3, 9)),
    "Conv2d": (lambda: nn.Conv2d(3, 4, (3, 2)), (2, 3, 6, 6)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
    "Depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, bias=False), (2, 4, 6, 6)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 3), (2, 3, 5, 5)),
    "Linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "LinearNoBias": (lambda: nn.Linear(6, 5, bias=False), (4, 6)),
}


class Wrapped(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.quant = tq.QuantStub()
        self.layer = layer
        self.relu = nn.ReLU()
        self.dequant = tq.DeQuantStub()

    def forward(self, x):
        return self.dequant(self.relu(self.layer(self.quant(x))))


def converted(kind, engine):
    """A statically quantized layer and an input for it."""
    torch.backends.quantized.engine = engine
    make, shape = LAYERS[kind]
    model = Wrapped(make()).eval()
    model.qconfig = tq.get_default_qconfig(engine)
    if kind == "ConvTranspose2d":  # per channel needs axis 1 there, which its kernels lack
        model.qconfig = tq.QConfig(tq.default_observer, tq.default_weight_observer)
    example = torch.randn(shape)
    prepared = tq.prepare(model)
    prepared(example)
    return tq.convert(prepared), example


def assert_layer(record, path, layer):
    tensors = by_name(record)
    assert_same(tensors[f"{path}.weight"], layer.weight())
    assert tensors[f"{path}.weight"].layer == path
    assert tensors[f"{path}.weight"].role == "weight"
    assert tensors[f"{path}.weight"].storage_dtype == "qint8"
    if layer.bias() is None:
        assert f"{path}.bias" not in tensors
    else:
        assert_same(tensors[f"{path}.bias"], layer.bias())


@pytest.mark.parametrize(
    ("kind", "engine"),
    # torch has no Conv3d for qnnpack.
    [(kind, engine) for kind in LAYERS for engine in ENGINES if (kind, engine) != ("Conv3d", "qnnpack")],
)
def test_static_quantization_is_read_from_every_kind_of_file(tmp_path, kind, engine):
    model, example = converted(kind, engine)
    layer = model.layer
    assert_layer(saved(tmp_path, model.state_dict()), "layer", layer)
    assert_layer(saved(tmp_path, model.state_dict(), _use_new_zipfile_serialization=False), "layer", layer)
    module = saved(tmp_path, model)
    assert_layer(module, "layer", layer)
    name = type(layer).__name__
    assert module.op_types["layer"] == f"quantized.{name}"
    for script in (torch.jit.script(model), torch.jit.trace(model, example)):
        record = scripted(tmp_path, script)
        assert_layer(record, "layer", layer)
        assert record.op_types["layer"] == f"quantized.{name}"


@pytest.mark.parametrize("kind", LAYERS)
def test_frozen_modules_keep_their_weights_among_the_constants(tmp_path, kind):
    model, _ = converted(kind, "fbgemm")
    record = scripted(tmp_path, torch.jit.freeze(torch.jit.script(model)))
    (weight,) = [tensor for tensor in record.tensors if tensor.quant is not None]
    assert weight.name.startswith("CONSTANTS.c")
    assert weight.role == "weight"
    expected = model.layer.weight()
    assert_same(weight, expected.unsqueeze(2) if kind == "Conv1d" else expected)
    # torch packs one dimension as two, and a transposed convolution as any other.
    kinds = {"Conv1d": "Conv2d", "Depthwise": "Conv2d", "ConvTranspose2d": "Conv2d", "LinearNoBias": "Linear"}
    assert record.op_types[weight.layer] == f"quantized.{kinds.get(kind, kind)}"
    assert kinds.get(kind, kind) in weight.quant.source


def test_activation_scales_stay_tensors_of_their_own(tmp_path):
    model, _ = converted("Conv2d", "fbgemm")
    tensors = by_name(saved(tmp_path, model.state_dict()))
    assert tensors["layer.scale"].storage.read() == pytest.approx(model.layer.scale)
    assert tensors["layer.scale"].quant is None
    assert tensors["layer.weight"].quant.scale.size == 4


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16], ids=str)
def test_dynamic_quantization_of_linear_and_recurrent_layers(tmp_path, dtype):
    torch.backends.quantized.engine = "fbgemm"
    model = nn.ModuleDict({"fc": nn.Linear(4, 3), "rnn": nn.LSTM(3, 2, bidirectional=True)})
    dynamic = tq.quantize_dynamic(model, {nn.Linear, nn.LSTM}, dtype=dtype)
    weight, bias = dynamic["fc"]._weight_bias()
    gates = dynamic["rnn"].get_weight()
    for record in (
        saved(tmp_path, dynamic.state_dict()),
        saved(tmp_path, dynamic),
        scripted(tmp_path, torch.jit.script(Holding(dynamic["fc"], dynamic["rnn"]))),
    ):
        tensors = by_name(record)
        assert_same(tensors["fc.weight"], weight)
        assert_same(tensors["fc.bias"], bias)
        for number, suffix in enumerate(("", "_reverse")):
            for role in ("ih", "hh"):
                read = tensors[f"rnn._all_weight_values.{number}.weight_{role}"]
                assert_same(read, gates[f"weight_{role}_l0{suffix}"])


class Holding(nn.Module):
    def __init__(self, fc, rnn):
        super().__init__()
        self.fc, self.rnn = fc, rnn

    def forward(self, x):
        return self.rnn(self.fc(x))[0]


@pytest.mark.parametrize(
    ("qconfig", "word"),
    [
        (tq.float_qparams_weight_only_qconfig, "quint8"),
        (tq.float_qparams_weight_only_qconfig_4bit, "quint4x2"),
    ],
)
def test_embeddings_of_eight_and_four_bits(tmp_path, qconfig, word):
    model = nn.Sequential()
    model.add_module("table", nn.EmbeddingBag(10, 6, mode="sum"))
    model.qconfig = qconfig
    model = tq.convert(tq.prepare(model))
    expected = model.table.weight()
    for record in (
        saved(tmp_path, model.state_dict()),
        saved(tmp_path, model),
        scripted(tmp_path, torch.jit.script(model)),
    ):
        tensor = by_name(record)["table.weight"]
        assert tensor.storage_dtype == word
        assert tensor.quant.zero_point.dtype == "float32"
        assert tensor.quant.bits == (4 if word == "quint4x2" else 8)
        if word == "quint8":
            assert_same(tensor, expected)
        else:  # torch shows these codes only through the layer, which keeps its scales in 16 bits
            rows = model.table(torch.arange(10), torch.arange(10)).numpy()
            codes = tensor.storage.read().astype("float32")
            assert np.allclose((codes - tensor.quant.zero_point) * tensor.quant.scale, rows, atol=4e-3)


@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32], ids=str)
def test_quantized_tensors_alone(tmp_path, dtype):
    base = torch.randn(4, 3, 2) * 3
    scales, zero_points = torch.rand(3) + 0.01, torch.tensor([0, 3, 1])
    content = {
        "per_tensor": torch.quantize_per_tensor(base, 0.0625, 7, dtype),
        "scalar": torch.quantize_per_tensor(base[0, 0, 0], 0.0625, 7, dtype),
        "empty": torch.quantize_per_tensor(base[:0], 0.0625, 7, dtype),
        "per_channel": torch.quantize_per_channel(base, scales, zero_points, 1, dtype),
        "turned": torch.quantize_per_tensor(base, 0.125, 1, dtype).permute(2, 0, 1),
    }
    tensors = by_name(saved(tmp_path, content))
    for name, tensor in content.items():
        if name == "empty":
            assert tensors[name].storage.read().shape == (0, 3, 2)
        else:
            assert_same(tensors[name], tensor)
    assert tensors["per_channel"].quant.axis == 1
    assert tensors["per_tensor"].quant.code_min == torch.iinfo(dtype).min
    assert tensors["per_tensor"].quant.code_max == torch.iinfo(dtype).max


def test_quantized_tensors_over_the_same_codes_are_aliases(tmp_path):
    weight = torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)
    tensors = by_name(saved(tmp_path, {"a": weight, "b": weight}))
    assert tensors["b"].alias_of == "a"


def test_graph_mode_quantization_is_read_like_eager(tmp_path):
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx  # noqa: PLC0415 - warns when it is imported

    torch.backends.quantized.engine = "fbgemm"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    example = torch.randn(1, 3, 6, 6)
    prepared = prepare_fx(copy.deepcopy(model), tq.get_default_qconfig_mapping("fbgemm"), (example,))
    prepared(example)
    quantized = convert_fx(prepared)
    for record in (saved(tmp_path, quantized.state_dict()), scripted(tmp_path, torch.jit.trace(quantized, example))):
        assert_layer(record, "0", quantized.get_submodule("0"))
        assert_layer(record, "3", quantized.get_submodule("3"))


@pytest.fixture
def stand_in(monkeypatch):
    """Make an object of a class that this torch lacks, which is saved with the given state."""

    def make(path, state):
        *parents, name = path.split(".")
        for end in range(1, len(parents) + 1):
            module = ".".join(parents[:end])
            monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or types.ModuleType(module))
        kind = type(name, (), {"__module__": module, "__getstate__": lambda _: state})
        setattr(sys.modules[module], name, kind)
        return kind()

    return make


def test_mobile_models_keep_weights_in_operator_contexts_and_hoisted_parameters(tmp_path, stand_in):
    convolution, bias, linear = torch.randn(4, 3, 3, 3), torch.randn(4), torch.randn(5, 4)
    quantized = torch.quantize_per_tensor(torch.randn(2, 3, 1, 1), 0.125, 0, torch.qint8)
    classes = "__torch__.torch.classes"
    packed = (torch.tensor([2, 1, 1], dtype=torch.int16), quantized, bias)
    content = {
        "CONSTANTS": {
            "c0": stand_in(f"{classes}.xnnpack.Conv2dOpContext", (convolution, bias, [1, 1], [0, 0], [1, 1], 1, None)),
            "c1": stand_in(f"{classes}.xnnpack.LinearOpContext", (linear, None, None, None)),
        },
        "_jit_pass_hoist_conv_packed_params.features.0.0._packed_params.1": stand_in(
            f"{classes}.quantized.Conv2dPackedParamsBase", ("2", list(packed))
        ),
    }
    record = saved(tmp_path, content)
    tensors = by_name(record)
    assert_same(tensors["CONSTANTS.c0.weight"], convolution)
    assert_same(tensors["CONSTANTS.c0.bias"], bias)
    assert_same(tensors["CONSTANTS.c1.weight"], linear)
    assert_same(tensors["features.0.0.weight"], quantized)
    assert_same(tensors["features.0.0.bias"], bias)
    assert record.op_types["CONSTANTS.c1"] == "Linear"
    assert record.op_types["features.0.0"] == "quantized.Conv2d"


def test_cells_of_recurrent_layers_keep_their_two_weights_apart(tmp_path):
    torch.backends.quantized.engine = "fbgemm"
    dynamic = tq.quantize_dynamic(nn.ModuleDict({"cell": nn.GRUCell(4, 3)}), {nn.GRUCell}, dtype=torch.qint8)
    tensors = by_name(saved(tmp_path, dynamic.state_dict()))
    assert {tensor.layer for tensor in tensors.values()} == {"cell"}
    assert [tensor.role for tensor in tensors.values()] == ["weight_ih", "bias_ih", "weight_hh", "bias_hh"]


def test_parameters_of_activations_have_roles_of_their_own(tmp_path):
    model, _ = converted("Linear", "fbgemm")
    tensors = by_name(saved(tmp_path, model.state_dict()))
    assert tensors["layer.scale"].role == "output_scale"
    assert tensors["layer.zero_point"].role == "output_zero_point"
    assert tensors["quant.scale"].role == "scale"


def test_a_configuration_beside_a_checkpoint_states_its_scheme(tmp_path):
    codes, words = torch.randint(0, 16, (32, 8)), torch.zeros(4, 8, dtype=torch.int64)
    for place in range(8):
        words |= codes[place::8] << 4 * place
    state = {
        "fc.qweight": torch.where(words >= 1 << 31, words - (1 << 32), words).int(),
        "fc.qzeros": torch.full((1, 1), 0x77777777, dtype=torch.int32),
        "fc.scales": torch.rand(1, 8).half(),
        "fc.g_idx": torch.zeros(32, dtype=torch.int32),
    }
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "gptq", "bits": 4}}')
    torch.save(state, tmp_path / "pytorch_model.bin")
    record = open_file(tmp_path / "pytorch_model.bin")
    (weight,) = [tensor for tensor in record.tensors if tensor.quant is not None]
    assert weight.shape == (8, 32)
    assert np.array_equal(weight.storage.read(), codes.t().numpy())
    assert weight.quant.scale_origin == "explicit"


class Plain(torch.Tensor):
    """A wrapper as torchao up to 0.15 wrote it."""

    @staticmethod
    def __new__(cls, shape, **fields):
        made = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32)
        made.__dict__.update(fields)
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise NotImplementedError


@pytest.mark.parametrize("domain", [1, 2, 3])
def test_wrappers_of_older_torchao_are_read_by_their_domain(tmp_path, monkeypatch, domain):
    outer, inner = (
        type(name, (Plain,), {"__module__": __name__}) for name in ("AffineQuantizedTensor", "PlainAQTTensorImpl")
    )
    kind = enum.Enum("ZeroPointDomain", ["INT", "FLOAT", "NONE"], module=__name__)
    for name in (outer, inner, kind):
        monkeypatch.setitem(globals(), name.__name__, name)
    codes = torch.randint(0, 16, (6, 8), dtype=torch.int8)
    scale, zero = torch.rand(6, 2), torch.randint(0, 9, (6, 2)).float()
    plain = inner(codes.shape, int_data=codes, scale=scale, zero_point=zero)
    weight = outer(
        codes.shape, tensor_impl=plain, block_size=(1, 4), quant_min=0, quant_max=15, zero_point_domain=kind(domain)
    )
    (found,) = saved(tmp_path, {"weight": weight}).tensors
    each = [part.repeat_interleave(4, dim=1) for part in (scale, zero)]
    expected = {1: (codes - each[1]) * each[0], 2: (codes - 8) * each[0] + each[1], 3: codes * each[0]}[domain]
    assert np.array_equal(TensorRef.of(found, "weight").values(), expected.numpy())
    assert (found.quant.code_min, found.quant.code_max) == (0, 15)
