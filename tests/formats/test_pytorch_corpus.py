"""Real files: each opens or is refused with a reason, and its tensors are what torch loads where torch can."""

from __future__ import annotations

import io
import math
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from torch_files import CORPUS, QUIET, assert_same, by_name, dequantized

from quantwidget.errors import UnsupportedFormatError
from quantwidget.formats.pytorch import ENDINGS, open_file

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

FILES = sorted(path for path in CORPUS.rglob("*") if path.suffix in ENDINGS) if CORPUS.is_dir() else []
RESNET8 = CORPUS / "Floadia+resnet8" / "models"
ABSENT = "the corpus of model files is not here; QUANTWIDGET_CORPUS names its folder"
REFUSED = {"checkpoint.ckpt", "model_with_orig_ext_data.bin", "broken.pt"}

CONVOLUTIONS = {
    "model_1/conv2d_1/BiasAdd": (16, 3, 3, 3),
    "model_1/conv2d_1_2/BiasAdd": (16, 16, 3, 3),
    "model_1/conv2d_2_1/BiasAdd": (16, 16, 3, 3),
    "model_1/conv2d_3_1/BiasAdd.1": (32, 16, 3, 3),
    "model_1/conv2d_4_1/BiasAdd": (32, 32, 3, 3),
    "model_1/conv2d_5_1/BiasAdd": (32, 16, 1, 1),
    "model_1/conv2d_6_1/BiasAdd.1": (64, 32, 3, 3),
    "model_1/conv2d_7_1/BiasAdd": (64, 64, 3, 3),
    "model_1/conv2d_8_1/BiasAdd": (64, 32, 1, 1),
}

needs_resnet8 = pytest.mark.skipif(not RESNET8.is_dir(), reason=ABSENT)


def label(path):
    return "/".join(path.parts[-2:])


def loaded(path):
    """What torch can name in a file without running it: tensors by name; empty when it refuses."""
    try:
        return dict(named_tensors(torch.load(path, map_location="cpu", weights_only=True)))
    except Exception:  # noqa: BLE001 - torch refuses a file in many ways
        return scripted_tensors(path)


def scripted_tensors(path):
    try:
        return torch.jit.load(path, map_location="cpu").state_dict()
    except Exception:  # noqa: BLE001 - torch refuses a file in many ways
        return {}


def named_tensors(node, path=""):
    if isinstance(node, torch.Tensor):
        yield path or "tensor", node
    elif isinstance(node, dict | list | tuple):
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in entries:
            yield from named_tensors(child, f"{path}.{key}" if path else str(key))


@pytest.mark.skipif(not FILES, reason=ABSENT)
@pytest.mark.parametrize("path", FILES, ids=label)
def test_real_files_open_and_show_what_torch_loads(path):
    if path.name in REFUSED:
        with pytest.raises(UnsupportedFormatError, match=path.name):
            open_file(path)
        return
    record = open_file(path)
    assert [tensor.name for tensor in record.tensors if tensor.note] == []
    tensors = by_name(record)
    for tensor in record.tensors:
        assert math.prod(tensor.storage.read().shape) == math.prod(tensor.shape)
    for name, expected in loaded(path).items():
        found = tensors.get(name) or tensors.get(name.partition(".")[2])
        if found is None:
            assert any("left out" in note for note in record.notes) or "_packed_params" in name, name
            continue
        assert_same(found, expected)


@needs_resnet8
def test_resnet8_shows_nine_convolutions_and_the_constants():
    record = open_file(RESNET8 / "resnet8.pt")
    tensors = by_name(record)
    assert len(tensors) == 35
    assert sum(math.prod(tensor.shape) for tensor in record.tensors) == 78_188
    for path, shape in CONVOLUTIONS.items():
        assert tensors[f"{path}.weight"].shape == shape
        assert tensors[f"{path}.weight"].layer == path
        assert tensors[f"{path}.bias"].shape == shape[:1]
        assert record.op_types[path] == "Conv2d"
    assert tensors["initializers.onnx_initializer_0"].shape == (1, 16, 1, 1)
    assert tensors["initializers.onnx_initializer_15"].shape == (64, 10)
    assert all(tensor.quant is None and tensor.alias_of is None for tensor in record.tensors)


@needs_resnet8
def test_quantized_resnet8_shows_the_codes_that_torch_unpacks():
    path = RESNET8 / "resnet8_int8.pt"
    record = open_file(path)
    tensors = by_name(record)
    script = torch.jit.load(path)
    assert sum(tensor.quant is not None for tensor in record.tensors) == 9
    modules = dict(script.named_modules())
    for name, shape in CONVOLUTIONS.items():
        weight, bias = torch.ops.quantized.conv2d_unpack(modules[name]._packed_params)
        assert tensors[f"{name}.weight"].shape == shape
        assert tensors[f"{name}.weight"].quant.axis == 0
        assert_same(tensors[f"{name}.weight"], weight)
        assert_same(tensors[f"{name}.bias"], bias)
        assert record.op_types[name] == "quantized.Conv2d"
    state_dict = script.state_dict()
    for name, expected in state_dict.items():
        assert_same(tensors[name], expected)
    dense = tensors["initializers.onnx_initializer_15"]
    assert (dense.shape, dense.dtype, dense.quant) == ((64, 10), "float32", None)


@needs_resnet8
def test_quantized_resnet8_is_close_to_the_float_one():
    exact, quantized = (by_name(open_file(RESNET8 / name)) for name in ("resnet8.pt", "resnet8_int8.pt"))
    for path in CONVOLUTIONS:
        weight = quantized[f"{path}.weight"]
        error = np.abs(dequantized(weight) - exact[f"{path}.weight"].storage.read())
        assert np.all(error <= weight.quant.scale)


SCRIPTED = [path for path in FILES if path.name.endswith((".scripted.pt", ".traced.pt", "quantized.pt", "_int8.pt"))]


@pytest.mark.skipif(not SCRIPTED, reason=ABSENT)
@pytest.mark.parametrize("path", SCRIPTED, ids=label)
def test_packed_weights_are_what_torch_unpacks(path):
    try:
        script = torch.jit.load(io.BytesIO(path.read_bytes()))
    except RuntimeError as error:
        pytest.skip(f"torch cannot load it: {str(error)[:60]}")
    tensors = by_name(open_file(path))
    shown = [tensor for tensor in tensors.values() if tensor.quant is not None]
    for weight, bias in packed_weights(script, path):
        if not weight.is_quantized:
            continue
        codes = weight.int_repr().numpy()
        same = [tensor for tensor in shown if np.array_equal(tensor.storage.read(), codes)]
        assert same
        assert_same(same[0], weight)
        if bias is not None:
            assert_same(tensors[same[0].name.removesuffix("weight") + "bias"], bias)


def packed_weights(script, path):
    """Weight and bias of each packed object that can be reached."""
    unpackers = {
        "Conv2dPackedParamsBase": torch.ops.quantized.conv2d_unpack,
        "Conv3dPackedParamsBase": torch.ops.quantized.conv3d_unpack,
        "LinearPackedParamsBase": torch.ops.quantized.linear_unpack,
    }
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        words = {word for _, word, _ in pickletools.genops(archive.read(name)) if isinstance(word, str)}
    for module in script.modules():
        for word in {"_packed_params", *(word for word in words if "_pack" in word)}:
            value = module._c.getattr(word) if module._c.hasattr(word) else None
            kind = value._type().qualified_name().rpartition(".")[2] if isinstance(value, torch.ScriptObject) else ""
            if kind in unpackers:
                yield unpackers[kind](value)
