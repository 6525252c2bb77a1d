from __future__ import annotations

import copy
import io
import secrets
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization

import quantwidget as qw

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

PROPERTIES = ("shape", "dtype", "storage_dtype", "layer", "role", "is_readable")
SCHEME = ("kind", "code_dtype", "block_shape", "code_min", "code_max", "scale_origin", "status")


@pytest.fixture(autouse=True)
def seed():
    drawn = secrets.randbits(32)
    print(f"seed {drawn}")  # noqa: T201 - shown when the test fails
    torch.manual_seed(drawn)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant = quantization.QuantStub()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8 * 4 * 4, 10)
        self.dequant = quantization.DeQuantStub()

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.quant(x))))
        return self.dequant(self.fc(x.flatten(1)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True)
        self.gru = nn.GRU(6, 5)
        self.cell = nn.LSTMCell(6, 5)
        self.fc = nn.Linear(5, 3)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.bag = nn.EmbeddingBag(10, 8, mode="sum")


def static(engine="fbgemm"):
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        net = quantization.fuse_modules(Net().eval(), [["conv", "bn", "relu"]])
        net.qconfig = quantization.get_default_qconfig(engine)
        quantization.prepare(net, inplace=True)
        net(torch.randn(2, 3, 6, 6))
        return quantization.convert(net)
    finally:
        torch.backends.quantized.engine = before


def dynamic(dtype):
    return quantization.quantize_dynamic(Recurrent(), {nn.LSTM, nn.GRU, nn.LSTMCell, nn.Linear}, dtype=dtype)


def embedded():
    net = Embedded()
    net.words.qconfig = quantization.float_qparams_weight_only_qconfig
    net.bag.qconfig = quantization.float_qparams_weight_only_qconfig_4bit
    return quantization.convert(quantization.prepare(net))


def traced_by_fx(mode):
    from torch.ao.quantization import quantize_fx  # noqa: PLC0415

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.fc = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(128, 10)

        def forward(self, x):
            return self.fc(self.relu(self.conv(x)).flatten(1))

    example = torch.randn(1, 3, 6, 6)
    if mode == "float":
        return torch.fx.symbolic_trace(Plain())
    if mode == "qat":
        mapping = quantization.get_default_qat_qconfig_mapping("fbgemm")
        prepared = quantize_fx.prepare_qat_fx(Plain().train(), mapping, (example,))
        prepared(example)
        return prepared
    prepared = quantize_fx.prepare_fx(Plain().eval(), quantization.get_default_qconfig_mapping("fbgemm"), (example,))
    prepared(example)
    if mode == "reference":
        return quantize_fx.convert_to_reference_fx(prepared)
    return quantize_fx.convert_fx(prepared)


def scripted(*, freeze, is_loaded=False):
    module = torch.jit.script(static())
    module = torch.jit.freeze(module.eval()) if freeze else module
    if not is_loaded:
        return module
    content = io.BytesIO()
    torch.jit.save(module, content)
    content.seek(0)
    return torch.jit.load(content)


def assert_alike(live, file):
    """The file reader is held against torch elsewhere; what it shows of a saved model, the live model shows too."""
    for name in file.tensors:
        one, other = live.tensors[name], file.tensors[name]
        assert [getattr(one, word) for word in PROPERTIES] == [getattr(other, word) for word in PROPERTIES]
        assert (one.quant is None) == (other.quant is None)
        if other.quant is not None:
            assert [getattr(one.quant, word) for word in SCHEME] == [getattr(other.quant, word) for word in SCHEME]
            if other.quant.status == "stored":
                np.testing.assert_array_equal(one.codes(), other.codes())
        assert one.values().dtype == other.values().dtype
        np.testing.assert_array_equal(one.values(), other.values())
    for path in set(live.layers) & set(file.layers):
        assert live.layers[path].op_type == file.layers[path].op_type


STATE_DICTS = {
    "static": static,
    "static for qnnpack": lambda: static("qnnpack"),
    "dynamic": lambda: dynamic(torch.qint8),
    "dynamic float16": lambda: dynamic(torch.float16),
    "embedding": embedded,
    "FX": lambda: traced_by_fx("quantized"),
    "FX reference": lambda: traced_by_fx("reference"),
    "FX with fake quantization": lambda: traced_by_fx("qat"),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
    "data parallel": lambda: nn.DataParallel(nn.Linear(4, 3)),
}


@pytest.mark.parametrize("kind", STATE_DICTS)
def test_a_state_dict_shows_what_its_file_shows(kind, tmp_path):
    module = STATE_DICTS[kind]()  # kept: scales of an embedding's state lie in it
    state = module.state_dict()
    torch.save(state, tmp_path / "model.pt")
    live, file = qw.open_model(state), qw.open_model(tmp_path / "model.pt")
    assert (live.format, live.source) == ("state dict", "OrderedDict")
    assert list(live.tensors) == list(file.tensors)
    assert_alike(live, file)


WHOLE = ("static", "static for qnnpack", "dynamic float16", "embedding", "FX")


@pytest.mark.parametrize("kind", WHOLE)
def test_a_module_shows_what_its_file_shows(kind, tmp_path):
    module = STATE_DICTS[kind]()
    torch.save(module, tmp_path / "model.pt")
    live, file = qw.open_model(module), qw.open_model(tmp_path / "model.pt")
    assert live.format == "torch module"
    assert set(live.tensors) == set(file.tensors)
    assert_alike(live, file)


def test_a_dynamic_recurrent_module_shows_the_weights_of_its_file(tmp_path):
    module = dynamic(torch.qint8)
    torch.save(module.state_dict(), tmp_path / "model.pt")
    live, file = qw.open_model(module), qw.open_model(tmp_path / "model.pt")
    weights = [name for name, tensor in file.tensors.items() if tensor.is_quantized]
    assert len(weights) == 2 * 4 + 2 + 2 + 1
    for name in weights:
        np.testing.assert_array_equal(live.tensors[name].codes(), file.tensors[name].codes())
        np.testing.assert_array_equal(live.tensors[name].values(), file.tensors[name].values())


SCRIPTS = {
    "scripted": lambda: scripted(freeze=False),
    "loaded": lambda: scripted(freeze=False, is_loaded=True),
    "frozen": lambda: scripted(freeze=True),
    "traced": lambda: torch.jit.trace(static(), torch.randn(1, 3, 6, 6)),
    "float": lambda: torch.jit.script(Net().eval()),
    "frozen float": lambda: torch.jit.freeze(torch.jit.script(Net().eval())),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_shows_what_its_file_shows(kind, tmp_path):
    module = SCRIPTS[kind]()
    torch.jit.save(module, tmp_path / "model.pt")
    live, file = qw.open_model(module), qw.open_model(tmp_path / "model.pt")
    assert list(live.tensors) == list(file.tensors)
    assert len(live.tensors) >= 4
    assert_alike(live, file)


def test_a_float_module_has_the_names_of_its_state_dict_and_its_numbers():
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Conv1d(4, 2, 3).bfloat16(), nn.Linear(4, 3).half())
    index = qw.open_model(net)
    assert list(index.tensors) == list(net.state_dict())
    for name, tensor in net.state_dict().items():
        shown = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        np.testing.assert_array_equal(index.tensors[name].values(), shown.numpy())
    assert [layer.op_type for layer in index.layers.values()] == ["Linear", "BatchNorm1d", "Conv1d", "Linear"]
    assert index.metadata == {"class": "Sequential"}


def test_tied_parameters_and_shared_modules_are_counted_once():
    first = nn.Linear(4, 4)
    net = nn.Sequential(first, nn.Linear(4, 4), first)
    net[1].weight = first.weight
    index = qw.open_model(net)
    assert list(index.tensors) == list(net.state_dict())
    aliases = {name: tensor.alias_of for name, tensor in index.tensors.items()}
    assert aliases == {
        "0.weight": None, "0.bias": None, "1.weight": "0.weight", "1.bias": None, "2.weight": "0.weight",
        "2.bias": "0.bias",
    }  # fmt: skip


def test_a_parametrized_module_shows_what_it_stores_under_its_own_class():
    net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)))
    index = qw.open_model(net)
    assert list(index.tensors) == list(net.state_dict())
    assert index.layers["0"].op_type == "Linear"


def test_a_plain_tensor_among_the_attributes_is_shown_once():
    net = nn.Linear(3, 2)
    net.table = torch.arange(3)
    net.again = net.weight.detach()
    assert list(qw.open_model(net).tensors) == ["weight", "bias", "table"]


def test_fake_quantized_weights_are_simulated_and_follow_their_observer():
    net = traced_by_fx("qat")
    index = qw.open_model(net)
    weight = index.tensors["fc.weight"]
    assert weight.quant.status == "simulated"
    np.testing.assert_array_equal(weight.quant.scale.reshape(-1), net.fc.weight_fake_quant.scale.numpy())
    np.testing.assert_array_equal(weight.values(), net.fc.weight.detach().numpy())


def test_a_model_that_trains_on_shows_its_numbers_of_the_moment():
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    index = qw.open_model(net)
    widget = qw.QuantWidget(net)
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    seen = []
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()
        seen.append(index.tensors["0.weight"].values())
        np.testing.assert_array_equal(seen[-1], net[0].weight.detach().numpy())
        np.testing.assert_array_equal(widget.index.tensors["0.weight"].values(), seen[-1])
    assert not np.array_equal(seen[0], seen[1])
    net[0].weight = nn.Parameter(torch.zeros(5, 6))
    assert not index.tensors["0.weight"].values().any()
    net.load_state_dict({name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}, assign=True)
    assert index.tensors["0.weight"].values().all()
    widget.close()


def test_a_tensor_that_has_changed_its_shape_is_refused():
    net = nn.Linear(4, 3)
    index = qw.open_model(net)
    net.weight = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(qw.CorruptModelError, match=r"has become one of \[2, 2\]: open the model again"):
        index.tensors["weight"].values()


def test_numbers_that_were_given_out_do_not_follow_and_cannot_change_the_model():
    net = nn.Linear(4, 3)
    values = qw.open_model(net).tensors["weight"].values()
    before = net.weight.detach().clone()
    values[:] = 7
    assert torch.equal(net.weight, before)


def test_nothing_is_run_and_nothing_changes():
    calls = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            calls.append("forward")
            return x

        def state_dict(self, *args, **kwargs):
            calls.append("state_dict")
            return super().state_dict(*args, **kwargs)

    net = Watched()
    net.fc.register_forward_pre_hook(lambda *_: calls.append("hook"))
    before = copy.deepcopy(net.fc.weight)
    keys = set(vars(net.fc))
    for tensor in qw.open_model(net).tensors.values():
        tensor.values()
        tensor.stats()
    assert calls == []
    assert set(vars(net.fc)) == keys
    assert torch.equal(before, net.fc.weight)
    assert net.fc.weight.grad is None


def test_a_quantized_conv1d_has_the_three_dimensions_that_it_has_in_torch():
    net = nn.Sequential(nn.Conv1d(3, 4, 5), nn.ConvTranspose1d(4, 2, 3))
    net.qconfig = quantization.default_qconfig
    prepared = quantization.prepare(nn.Sequential(quantization.QuantStub(), net).eval())
    prepared[1].qconfig = prepared.qconfig = quantization.default_qconfig
    prepared(torch.randn(2, 3, 20))
    converted = quantization.convert(prepared)
    for model in (converted, torch.jit.script(converted)):
        index = qw.open_model(model)
        for place in (0, 1):
            weight, found = converted[1][place].weight(), index.tensors[f"1.{place}.weight"]
            assert found.shape == tuple(weight.shape)
            np.testing.assert_array_equal(found.codes(), weight.int_repr().numpy())
            np.testing.assert_array_equal(found.values(), weight.dequantize().numpy())


def test_a_module_with_a_cycle_opens():
    net = nn.Linear(3, 2)
    net._modules["again"] = net
    assert list(qw.open_model(net).tensors) == ["weight", "bias"]


def test_modules_without_elements_are_listed_with_the_reason():
    net = nn.Sequential(nn.Linear(3, 2, device="meta"), nn.LazyLinear(4))
    index = qw.open_model(net)
    notes = {name: tensor.note for name, tensor in index.tensors.items()}
    assert notes["0.weight"] == "a meta tensor has no stored elements"
    assert "not initialised yet" in notes["1.weight"]
    with pytest.raises(qw.NotDecodedError, match="listed only"):
        index.tensors["1.weight"].values()


def test_an_empty_module_is_a_model_without_tensors():
    assert dict(qw.open_model(nn.ReLU()).tensors) == {}


def test_torch_is_left_alone_by_those_who_do_not_use_it():
    script = "import sys, quantwidget as qw; qw.open_model({'a': [1.0, 2.0]}); print('torch' in sys.modules)"
    import subprocess  # noqa: PLC0415

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
