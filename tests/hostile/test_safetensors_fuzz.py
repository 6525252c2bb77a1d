"""Valid safetensors files changed at random and cut off everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bitsandbytes import functional as bnb
from fuzzing import changed, fuzz, opens_or_says_why, truncate
from packed_weights import awq_weight, gptq_weight, mlx_weight
from safetensors.torch import save_file


def content(path):
    """Small weights of several conventions in one file."""
    rng = np.random.default_rng(7)
    parts = {
        "a": gptq_weight(rng, 4, (8, 64), act_order=True)[0],
        "b": awq_weight(rng, (8, 32), group_size=16)[0],
        "c": mlx_weight(rng, 4, (4, 64), group_size=64)[0],
    }
    tensors = {
        f"{layer}.{part}": torch.from_numpy(array) for layer, arrays in parts.items() for part, array in arrays.items()
    }
    quantized, state = bnb.quantize_4bit(torch.ones(4, 32), quant_type="nf4", compress_statistics=True)
    tensors |= {
        "d.weight": quantized,
        **{f"d.weight.{part}": held for part, held in state.as_dict(packed=True).items()},
    }
    tensors |= {
        "e.weight_packed": torch.zeros(4, 4, dtype=torch.int32),
        "e.weight_scale": torch.ones(4, 1),
        "e.weight_shape": torch.tensor([4, 32]),
        "f.weight": torch.ones(4, 32).to(torch.float8_e4m3fn),
        "f.weight_scale": torch.ones(4, 1),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    return path.read_bytes()


@pytest.mark.parametrize("part", ["header", "file"])
def test_changed_files_open_or_say_why(tmp_path, part):
    path = tmp_path / "model.safetensors"
    valid = content(path)
    length = 8 + int.from_bytes(valid[:8], "little")
    fuzz(path, valid[:length] + bytes(64) if part == "header" else valid, seed=11, inputs=5000)


def test_changed_configurations_open_or_say_why(tmp_path):
    content(tmp_path / "model.safetensors")
    weights = {"num_bits": 4, "group_size": 32, "actorder": None}
    config = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 32,
        "desc_act": True,
        "config_groups": {"g": {"weights": weights}},
    }
    text = json.dumps({"quantization_config": config}).encode()
    rng = np.random.default_rng(12)
    for _ in range(500):
        (tmp_path / "config.json").write_bytes(changed(text, rng))
        opens_or_says_why(tmp_path / "model.safetensors")


def test_beginnings_of_a_file_open_or_say_why(tmp_path):
    path = tmp_path / "model.safetensors"
    truncate(path, content(path))
