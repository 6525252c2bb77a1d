"""Layers of bitsandbytes in memory, held against the library's own dequantization and against their state dict."""

from __future__ import annotations

import secrets

import bitsandbytes
import numpy as np
import pytest
import torch
from bitsandbytes import functional
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from torch import nn

import quantwidget as qw


@pytest.fixture(autouse=True)
def seed():
    drawn = secrets.randbits(32)
    print(f"seed {drawn}")  # noqa: T201 - shown when the test fails
    torch.manual_seed(drawn)


def four_bits(quant_type, *, is_nested):
    layer = Linear4bit(128, 96, quant_type=quant_type, compress_statistics=is_nested)
    layer.weight = Params4bit(
        torch.randn(96, 128), requires_grad=False, quant_type=quant_type, compress_statistics=is_nested
    )
    return nn.Sequential(layer).to("cpu")


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("is_nested", [False, True])
def test_codes_of_four_bits_find_their_scales(quant_type, is_nested):
    net = four_bits(quant_type, is_nested=is_nested)
    weight = net[0].weight
    assert weight.quant_state is not None
    index = qw.open_model(net)
    found = index.tensors["0.weight"]
    expected = functional.dequantize_4bit(weight.data, weight.quant_state)
    np.testing.assert_array_equal(found.values(), expected.float().numpy())
    assert (found.layer, found.role, found.shape) == ("0", "weight", (96, 128))
    assert index.layers["0"].op_type == "Linear4bit"
    assert set(index.tensors) == set(qw.open_model(net.state_dict()).tensors)


def test_codes_of_eight_bits_find_their_scales():
    codes, scale, _ = functional.int8_vectorwise_quant(torch.randn(32, 64).half())
    layer = Linear8bitLt(64, 32, has_fp16_weights=False)
    layer.weight = Int8Params(codes, requires_grad=False, has_fp16_weights=False, CB=codes, SCB=scale)
    found = qw.open_model(nn.Sequential(layer)).tensors["0.weight"]
    np.testing.assert_array_equal(found.codes(), codes.numpy())
    exact = codes.numpy() * (scale.numpy().astype(np.float64) / 127)[:, None]
    np.testing.assert_array_equal(found.values(), exact.astype(np.float32))
    assert found.quant.axis == 0


def test_a_parameter_that_is_not_quantized_yet_is_plain():
    net = nn.Sequential(Linear4bit(8, 4), bitsandbytes.nn.Linear8bitLt(4, 2, has_fp16_weights=False))
    index = qw.open_model(net)
    assert list(index.tensors) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert not index.is_quantized
