from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import quantwidget as qw


@pytest.fixture
def rng():
    return np.random.default_rng()


class Tensor:
    def __init__(self, data):
        self.data = np.array(data, np.float32)
        self.grad = np.zeros_like(self.data)
        self._backward = lambda: None
        self._prev = {self}

    shape = property(lambda self: self.data.shape)


class Linear:
    def __init__(self, rng, inputs, outputs):
        self.in_features, self.sizes, self.eps = inputs, [inputs, outputs], 1e-5
        self.weight = Tensor(rng.normal(size=(inputs, outputs)))
        self.bias = Tensor(np.zeros(outputs))
        self.x = Tensor(np.zeros(inputs))
        self.cache = [Tensor(np.zeros(3))]
        self.name, self.device, self.training = "fc", "cpu", True

    def parameters(self):
        return [self.weight, self.bias]


class Dropout:
    def __init__(self):
        self.p = 0.5


class Sequential:
    def __init__(self, *layers):
        self.layers = list(layers)
        self.owner = self

    def parameters(self):
        return [parameter for layer in self.layers for parameter in getattr(layer, "parameters", list)()]


def test_layers_and_tensors_are_found_by_their_attributes(rng):
    net = Sequential(Linear(rng, 4, 3), Dropout(), Linear(rng, 3, 2))
    index = qw.open_model(net)
    assert (index.format, index.source, index.metadata) == ("object", "Sequential", {"class": "Sequential"})
    assert list(index.tensors) == ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]
    assert {path: layer.op_type for path, layer in index.layers.items()} == {"layers.0": "Linear", "layers.2": "Linear"}
    np.testing.assert_array_equal(index.tensors["layers.0.weight"].values(), net.layers[0].weight.data)
    net.layers[0].weight.data = net.layers[0].weight.data - 1
    np.testing.assert_array_equal(index.tensors["layers.0.weight"].values(), net.layers[0].weight.data)


class ByHand:
    def __init__(self, rng):
        self.W1, self.b1 = rng.normal(size=(3, 4)), np.zeros(4)
        self.dW1, self.grad_b1, self.b1_grad = np.zeros((3, 4)), np.zeros(4), np.zeros(4)
        self.out, self.losses = np.zeros(9), [0.5, 0.25]
        self.rows = [[0.5, 1.5], [2.5, 3.5]]


def test_gradients_caches_and_histories_are_left_out(rng):
    net = ByHand(rng)
    index = qw.open_model(net)
    assert list(index.tensors) == ["W1", "b1", "rows"]
    net.W1 = net.W1 + 1
    np.testing.assert_array_equal(index.tensors["W1"].values(), net.W1)
    np.testing.assert_array_equal(index.tensors["rows"].values(), net.rows)


class Slotted:
    __slots__ = ("scale_of_nothing", "weight")

    def __init__(self):
        self.weight = np.arange(3.0)


class Kept:
    """Keeps its parameters where attributes do not lead."""

    def __init__(self):
        self._hidden = lambda: [np.ones(2), np.zeros(3)]

    def parameters(self):
        return self._hidden()


class Broken:
    def __init__(self):
        self.weight = np.ones(2)

    def parameters(self, group):
        raise NotImplementedError(group)


def test_slots_and_parameters_are_asked():
    assert list(qw.open_model(Slotted()).tensors) == ["weight"]
    assert list(qw.open_model(Kept()).tensors) == ["parameters.0", "parameters.1"]
    assert list(qw.open_model(Broken()).tensors) == ["weight"]


class Value:
    def __init__(self, data):
        self.data, self.grad, self._prev = data, 0.0, set()


class Neuron:
    def __init__(self, rng, count):
        self.w, self.b = [Value(float(number)) for number in rng.normal(size=count)], Value(0.5)


def test_scalars_of_an_autograd_are_gathered(rng):
    neuron = Neuron(rng, 3)
    index = qw.open_model([neuron, Neuron(rng, 2)])
    assert list(index.tensors) == ["0.w", "0.b", "1.w", "1.b"]
    neuron.w[1].data = 4.0
    assert index.tensors["0.w"].values()[1] == 4
    assert index.tensors["0.b"].values() == 0.5


class Registered:
    def __init__(self):
        self._parameters = {"weight": np.ones((2, 2)), "bias": None}
        self._modules = {"inner": Slotted()}
        self._buffers = {"mean": np.zeros(2)}


def test_registries_of_modules_do_not_show_in_names():
    assert list(qw.open_model(Registered()).tensors) == ["weight", "inner.weight", "mean"]


def test_modules_of_torch_inside_other_objects_are_read_as_such():
    net = Sequential(nn.Linear(3, 2))
    index = qw.open_model(net)
    assert list(index.tensors) == ["layers.0.weight", "layers.0.bias"]
    assert index.layers["layers.0"].op_type == "Linear"
    np.testing.assert_array_equal(index.tensors["layers.0.weight"].values(), net.layers[0].weight.detach().numpy())


class QuantizedLinear:
    """Holds its codes as many teaching frameworks have to: as whole numbers in float32."""

    def __init__(self, rng, scale=0.013, zero_point=-7):
        self.q_weight = Tensor(rng.integers(-128, 128, (4, 3)))
        self.weight_scale, self.weight_zero_point = scale, zero_point
        self.q_bias, self.bias_scale, self.bias_zero_point = Tensor(rng.integers(-128, 128, 3)), 0.5, 0
        self.input_scale = None


def test_a_layer_with_codes_beside_their_scale_is_quantized(rng):
    layer = QuantizedLinear(rng)
    index = qw.open_model(Sequential(layer))
    weight = index.tensors["layers.0.q_weight"]
    assert (weight.role, weight.layer, weight.quant.code_dtype) == ("weight", "layers.0", "int8")
    np.testing.assert_array_equal(weight.codes(), layer.q_weight.data.astype(np.int8))
    expected = (layer.q_weight.data - layer.weight_zero_point) * np.float32(layer.weight_scale)
    np.testing.assert_array_equal(weight.values(), expected)
    assert weight.quant.scale_origin == "assumed"
    assert index.tensors["layers.0.q_bias"].is_quantized
    assert index.layers["layers.0"].roles["weight_scale"] == "layers.0.weight_scale"
    layer.weight_scale = 0.5
    np.testing.assert_array_equal(
        qw.open_model(layer).tensors["q_weight"].values()[0], (layer.q_weight.data[0] + 7) / 2
    )


def test_floats_that_are_no_whole_numbers_are_no_codes(rng):
    layer = QuantizedLinear(rng)
    layer.q_weight.data[3, 2] = 0.5
    index = qw.open_model(layer)
    assert not index.tensors["q_weight"].is_quantized
    assert index.tensors["q_bias"].is_quantized


class QTensor:
    def __init__(self, rng, shape=(4, 3)):
        self.q_data = rng.integers(0, 256, shape, dtype=np.uint8)
        self.scale = rng.random(shape[0]).astype(np.float32)
        self.zero_point = rng.integers(0, 256, shape[0])


class Holder:
    def __init__(self, rng):
        self.weight, self.bias = QTensor(rng), np.zeros(4)


def test_an_object_of_codes_scale_and_zero_point_is_one_tensor_of_its_owner(rng):
    net = Holder(rng)
    index = qw.open_model({"fc": net})
    weight = index.tensors["fc.weight.q_data"]
    assert (weight.layer, weight.role, weight.quant.axis) == ("fc", "weight", 0)
    codes = net.weight
    expected = (codes.q_data.astype(np.float32) - codes.zero_point[:, None].astype(np.float32)) * codes.scale[:, None]
    np.testing.assert_array_equal(weight.values(), expected)
    assert list(index.layers) == ["fc"]


class Wrapping:
    """Codes in ``data``, as an array of a framework that also converts itself."""

    def __init__(self, rng):
        self.data = rng.integers(-128, 128, (4, 3), dtype=np.int8)
        self.scale, self.zero_point = 0.25, 3

    def __array__(self, dtype=None, copy=None):
        return (self.data.astype(np.float32) - self.zero_point) * self.scale


def test_a_quantized_tensor_that_converts_itself_shows_its_codes(rng):
    tensor = Wrapping(rng)
    found = qw.open_model({"fc.weight": tensor}).tensors["fc.weight.data"]
    assert (found.layer, found.role) == ("fc", "weight")
    np.testing.assert_array_equal(found.codes(), tensor.data)
    np.testing.assert_array_equal(found.values(), np.asarray(tensor))


class OverTorch:
    def __init__(self):
        self.data = torch.randn(3, 4, requires_grad=True)


def test_a_tensor_of_torch_in_a_wrapper_is_read_as_such():
    tensor = OverTorch()
    found = qw.open_model({"w": tensor}).tensors["w.data"]
    np.testing.assert_array_equal(found.values(), tensor.data.detach().numpy())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_exported_program_shows_its_state():
    net = nn.Linear(3, 2)
    index = qw.open_model(torch.export.export(net, (torch.randn(1, 3),)))
    assert list(index.tensors) == ["weight", "bias"]
    np.testing.assert_array_equal(index.tensors["weight"].values(), net.weight.detach().numpy())


@pytest.mark.parametrize(
    "source", [3, 2.5, object(), [], ["a"], Dropout(), nn.Linear, np, len, b"bytes", {1, 2}, torch.float32]
)
def test_what_is_no_model_is_refused_with_a_sentence(source):
    with pytest.raises(TypeError, match=r"a model is a path, .*, not a \w+"):
        qw.open_model(source)


def test_ten_thousand_objects_deep_does_not_overflow():
    chain = Slotted()
    for _ in range(10_000):
        outer = Dropout()
        outer.inner = chain
        chain = outer
    with pytest.raises(TypeError, match="not a Dropout"):
        qw.open_model(chain)
    chain.weight = np.ones(2)
    index = qw.open_model(chain)
    assert list(index.tensors) == ["weight"]
    assert "nested deeper" in index.notes[0]
