"""safetensors files, each with the configuration beside it that its library writes."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from bitsandbytes import functional as bnb
from case import Case, Expected, Made
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from packed_weights import awq_weight, gptq_weight, mlx_weight
from safetensors.torch import save_file
from torchao.prototype.mx_formats.mx_tensor import MXTensor
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
from torchao.quantization import (
    Float8WeightOnlyConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerGroup,
    quantize_,
)
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

if TYPE_CHECKING:
    from pathlib import Path

OUTPUTS, INPUTS = 64, 128
SHAPE = (OUTPUTS, INPUTS)

TYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.complex64: "C64",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0",
}


def generator(rng) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(1 << 62)))


def normal(rng, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=generator(rng)).to(dtype)


def positive(rng, *shape, dtype=torch.float32):
    return (torch.rand(shape, generator=generator(rng)) + 0.05).to(dtype)


def whole(rng, low, high, *shape, dtype=torch.uint8):
    return torch.randint(low, high, shape, generator=generator(rng)).to(dtype)


def as_numpy(tensor: torch.Tensor) -> Any:
    return tensor.detach().float().numpy()


def saved(folder: Path, tensors, config=None, metadata=None) -> Path:
    path = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
    if config:
        (folder / "config.json").write_text(json.dumps({"quantization_config": config}), encoding="utf-8")
    return path


def plain(folder, rng):
    tensors = {}
    for dtype, word in TYPES.items():
        raw = torch.from_numpy(rng.integers(0, 256, 12 * dtype.itemsize, dtype=np.uint8))
        tensors[word] = raw.bool() if dtype is torch.bool else raw.view(dtype).reshape(3, 4)
    path = saved(folder, tensors)
    narrow = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu}
    return Made(
        path,
        {
            word: Expected(as_numpy(tensors[word]) if dtype in narrow else tensors[word].numpy())
            for dtype, word in TYPES.items()
        },
    )


def compressed(folder, rng, *, name, values=torch.bfloat16, shape=SHAPE, **arguments):
    """Let compressed-tensors quantize a weight and take it back."""
    arguments = QuantizationArgs(**arguments)
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    compressor = BaseCompressor.get_value_from_registry(name)
    rows, columns = shape
    counts = {
        "tensor": (1,),
        "channel": (rows, 1),
        "block": (-(-rows // 32), -(-columns // 32)),
    }.get(arguments.strategy, (rows, columns // (arguments.group_size or columns)))
    is_float = arguments.type == "float"
    module = {"weight": normal(rng, *shape, dtype=values), "weight_scale": positive(rng, *counts, dtype=values)}
    if not arguments.symmetric:
        half = 1 << (arguments.num_bits - 1)
        module["weight_zero_point"] = whole(rng, -half, half, *counts, dtype=torch.int8)
    if arguments.strategy == "tensor_group":
        module["weight_global_scale"] = positive(rng, 1) * 50
        module["weight_scale"] *= 30
    packed = compressor.compress(module, scheme)
    if is_float and packed["weight_scale"].dtype == torch.uint8:
        packed["weight_scale"] = whole(rng, 0, 256, *counts)
    expected = compressor.decompress(dict(packed), scheme)["weight"]
    config = {
        "quant_method": "compressed-tensors",
        "format": name,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": json.loads(arguments.model_dump_json())}},
    }
    path = saved(folder, {f"fc.{part}": tensor for part, tensor in packed.items()}, config)
    stored = "fc.weight" if "weight" in packed else "fc.weight_packed"
    return Made(path, {stored: Expected(as_numpy(expected))})


def gptq(folder, rng, *, bits, act_order=False, **kind):
    tensors, codes, values = gptq_weight(rng, bits, SHAPE, act_order=act_order, **kind)
    config = {"quant_method": "gptq", "bits": bits, "group_size": 32, "desc_act": act_order, "sym": False}
    config["checkpoint_format"] = "gptq_v2" if kind.get("version") == 2 else "gptq"
    path = saved(folder, {f"fc.{part}": torch.from_numpy(array) for part, array in tensors.items()}, config)
    return Made(path, {"fc.qweight": Expected(values, codes, "per_block")})


def awq(folder, rng):
    tensors, codes, values = awq_weight(rng, SHAPE, group_size=32)
    config = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}
    path = saved(folder, {f"fc.{part}": torch.from_numpy(array) for part, array in tensors.items()}, config)
    return Made(path, {"fc.qweight": Expected(values, codes, "per_block")})


def four_bits(folder, rng, *, kind, nested, values=torch.bfloat16):
    quantized, state = bnb.quantize_4bit(
        normal(rng, 77, 51, dtype=values), blocksize=64, quant_type=kind, compress_statistics=nested
    )
    parts = {f"fc.weight.{part}": tensor for part, tensor in state.as_dict(packed=True).items()}
    path = saved(folder, {"fc.weight": quantized, **parts}, {"quant_method": "bitsandbytes"})
    expected = bnb.dequantize_4bit(quantized, state)
    nibbles = np.stack([quantized.numpy() >> 4, quantized.numpy() & 15], axis=-1).reshape(-1)[: 77 * 51]
    return Made(path, {"fc.weight": Expected(as_numpy(expected), nibbles.reshape(77, 51), "per_block")})


def eight_bits(folder, rng):
    codes, scale, _ = bnb.int8_vectorwise_quant(normal(rng, *SHAPE, dtype=torch.float16))
    marker = torch.zeros((), dtype=torch.uint8)
    path = saved(folder, {"fc.weight": codes, "fc.SCB": scale, "fc.weight_format": marker})
    exact = codes.numpy() * (scale.numpy().astype(np.float64) / 127)[:, None]
    library = bnb.int8_vectorwise_dequant(codes, scale).numpy()
    np.testing.assert_array_max_ulp(exact.astype(np.float32), library, maxulp=2)
    return Made(path, {"fc.weight": Expected(exact.astype(np.float32), codes.numpy(), "per_axis")})


def blocks_of_float8(folder, rng):
    weight = normal(rng, 256, 384).to(torch.float8_e4m3fn)
    scale = positive(rng, 2, 3)
    expected = Fp8Dequantize(None).convert({"weight": weight, "weight_scale_inv": scale})["weight"]
    config = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    path = saved(folder, {"fc.weight": weight, "fc.weight_scale_inv": scale}, config)
    return Made(path, {"fc.weight": Expected(as_numpy(expected), as_numpy(weight), "per_block")})


def float4_in_bytes(folder, rng, *, dtype):
    weight, scale = whole(rng, 0, 256, 32, 64).view(dtype), whole(rng, 0, 256, 32, 4).view(torch.float8_e8m0fnu)
    expected = Fp8Dequantize(None).convert({"weight": weight.view(torch.int8), "weight_scale_inv": scale})["weight"]
    path = saved(folder, {"fc.weight": weight, "fc.weight_scale_inv": scale}, {"quant_method": "fp8"})
    return Made(path, {"fc.weight": Expected(as_numpy(expected), granularity="per_block")})


def experts_in_mxfp4(folder, rng):
    blocks, scales = whole(rng, 0, 256, 3, 8, 4, 16), whole(rng, 0, 255, 3, 8, 4)
    expected = convert_moe_packed_tensors(blocks, scales).transpose(1, 2)
    path = saved(folder, {"mlp.up_blocks": blocks, "mlp.up_scales": scales}, {"quant_method": "mxfp4"})
    return Made(path, {"mlp.up_blocks": Expected(as_numpy(expected), granularity="per_block")})


def modelopt_float4(folder, rng):
    weight, scale = whole(rng, 0, 256, OUTPUTS, INPUTS // 2), positive(rng, OUTPUTS, INPUTS // 16)
    scale, factor = (scale * 100).to(torch.float8_e4m3fn), positive(rng, 1)[0]
    magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    table = np.concatenate([magnitudes, -magnitudes])
    codes = table[np.stack([weight.numpy() & 15, weight.numpy() >> 4], axis=-1).reshape(SHAPE)]
    expected = codes * np.repeat(as_numpy(scale) * factor.numpy(), 16, axis=1)
    path = saved(folder, {"fc.weight": weight, "fc.weight_scale": scale, "fc.weight_scale_2": factor})
    return Made(path, {"fc.weight": Expected(expected, codes, "per_block")})


def mlx(folder, rng, *, bits, dtype):
    tensors, codes, values = mlx_weight(rng, bits, SHAPE, group_size=64, dtype=dtype)
    path = folder / "model.safetensors"
    save_file({f"fc.{part}": torch.from_numpy(array) for part, array in tensors.items()}, path)
    config = {"quantization": {"group_size": 64, "bits": bits}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return Made(path, {"fc.weight": Expected(values, codes, "per_block")})


def torchao_layer(folder, rng, *, config):
    module = torch.nn.Sequential(torch.nn.Linear(INPUTS, OUTPUTS))
    module[0].weight.data = normal(rng, *SHAPE)
    module = module.to(torch.bfloat16)
    quantize_(module, config)
    state = {name: getattr(tensor, "data", tensor) for name, tensor in module.state_dict().items()}
    tensors, metadata = flatten_tensor_state_dict(state)
    path = saved(folder, tensors, metadata=metadata)
    return Made(path, {"0._weight_qdata": Expected(as_numpy(module[0].weight.dequantize()))})


def torchao_tensor(folder, rng, *, make):
    weight = make(normal(rng, *SHAPE, dtype=torch.bfloat16))
    tensors, metadata = flatten_tensor_state_dict({"fc.weight": weight})
    path = saved(folder, tensors, metadata=metadata)
    return Made(path, {"fc._weight_qdata": Expected(as_numpy(weight.dequantize()))})


def only_listed(folder, rng, *, parts):
    path = saved(folder, {f"fc.{part}": whole(rng, 0, 100, 8, 8, dtype=dtype) for part, dtype in parts.items()})
    return Made(path, listed=(f"fc.{next(iter(parts))}",))


def int_cases():
    for bits in range(2, 9):
        for symmetric in (True, False):
            for strategy, size in (("group", 32), ("channel", None)):
                label = f"pack-quantized {bits} bit, {'symmetric' if symmetric else 'asymmetric'}, per {strategy}"
                make = partial(
                    compressed, name="pack-quantized", num_bits=bits, symmetric=symmetric, strategy=strategy,
                    group_size=size, type="int",
                )  # fmt: skip
                yield label, make
    for strategy in ("tensor", "channel", "group"):
        yield (
            f"int-quantized, per {strategy}",
            partial(
                compressed,
                name="int-quantized",
                num_bits=8,
                symmetric=strategy == "channel",
                strategy=strategy,
                group_size=32 if strategy == "group" else None,
                type="int",
                values=torch.float32,
            ),
        )


def float_cases():
    for strategy in ("tensor", "channel", "group"):
        size = 32 if strategy == "group" else None
        yield (
            f"float-quantized, per {strategy}",
            partial(compressed, name="float-quantized", num_bits=8, strategy=strategy, group_size=size, type="float"),
        )
    block = {"strategy": "block", "block_structure": [32, 32]}
    yield (
        "float-quantized, blocks, the last ones cut short",
        partial(compressed, name="float-quantized", num_bits=8, type="float", shape=(50, 70), **block),
    )
    for name, bits, strategy, size in (
        ("nvfp4-pack-quantized", 4, "tensor_group", 16),
        ("mxfp4-pack-quantized", 4, "group", 32),
        ("mxfp6-pack-quantized", 6, "group", 32),
        ("mxfp8-quantized", 8, "group", 32),
    ):
        scales = {} if bits == 4 else {"scale_dtype": torch.uint8}
        yield (
            name,
            partial(compressed, name=name, num_bits=bits, strategy=strategy, group_size=size, type="float", **scales),
        )


def gptq_cases():
    for bits in (2, 3, 4, 8):
        yield f"GPTQ {bits} bit", partial(gptq, bits=bits)
        yield f"GPTQ {bits} bit, act-order", partial(gptq, bits=bits, act_order=True)
    yield "GPTQ 4 bit, symmetric", partial(gptq, bits=4, symmetric=True)
    yield "GPTQ v2 4 bit", partial(gptq, bits=4, version=2)


def torchao_cases():
    yield "torchao Int8Tensor", partial(torchao_layer, config=Int8WeightOnlyConfig())
    for bits in (2, 4):
        config = IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(32))
        yield f"torchao IntxUnpackedToInt8Tensor {bits} bit", partial(torchao_layer, config=config)
    yield "torchao Float8Tensor", partial(torchao_layer, config=Float8WeightOnlyConfig())
    for dtype in (torch.float8_e4m3fn, torch.float4_e2m1fn_x2):
        label = f"torchao MXTensor {str(dtype).removeprefix('torch.')}"
        yield label, partial(torchao_tensor, make=partial(MXTensor.to_mx, elem_dtype=dtype, block_size=32))
    scaled = partial(NVFP4Tensor.to_nvfp4, per_tensor_scale=torch.tensor(0.37))
    yield "torchao NVFP4Tensor", partial(torchao_tensor, make=scaled)
    tiles = partial(NVFP4Tensor.to_nvfp4, is_swizzled_scales=True)
    yield "torchao NVFP4Tensor, scales in tiles", partial(torchao_tensor, make=tiles)


FORMULA = "the published formula, in NumPy"
PACKED = torch.int32
LISTED = {
    "quanto": {"weight._data": torch.uint8, "weight._scale": torch.float32},
    "HQQ": {"W_q": torch.uint8, "scale": torch.float16, "zero": torch.float16},
    "AQLM": {"codes": torch.int16, "codebooks": torch.float16, "scales": torch.float16},
    "EXL2": {
        "q_weight": PACKED, "q_scale": PACKED, "q_scale_max": torch.float16, "q_groups": torch.int16,
    },
    "EXL3": {"trellis": torch.int16, "suh": torch.float16, "svh": torch.float16},
    "QuIP#": {"Qidxs": torch.int64, "SU": torch.float16, "SV": torch.float16},
    "Marlin": {"B": PACKED, "s": torch.float16},
    "SVDQuant": {"qweight": torch.int8, "wscales": torch.bfloat16, "smooth_factor": torch.bfloat16},
    "VPTQ": {"indices": PACKED, "centroids.weight": torch.float16},
}  # fmt: skip

CASES: tuple[Case, ...] = (
    Case("safetensors", "plain values of every type", "torch", plain, "values"),
    *(Case("safetensors", f"compressed-tensors {label}", "compressed-tensors", make) for label, make in int_cases()),
    *(Case("safetensors", f"compressed-tensors {label}", "compressed-tensors", make) for label, make in float_cases()),
    *(Case("safetensors", label, f"{FORMULA} (AutoGPTQ's)", make) for label, make in gptq_cases()),
    Case("safetensors", "AWQ GEMM 4 bit", f"{FORMULA} (AutoAWQ's)", awq),
    *(
        Case(
            "safetensors",
            f"bitsandbytes {kind}{', nested' if nested else ''}, {str(values).removeprefix('torch.')}",
            "bitsandbytes",
            partial(four_bits, kind=kind, nested=nested, values=values),
        )
        for kind in ("nf4", "fp4")
        for nested in (False, True)
        for values in (torch.float16, torch.bfloat16, torch.float32)
    ),
    Case("safetensors", "bitsandbytes int8", f"{FORMULA}; bitsandbytes itself rounds twice (2 ulp)", eight_bits),
    Case("safetensors", "float8 with block scales (weight_scale_inv)", "transformers", blocks_of_float8),
    *(
        Case("safetensors", f"MXFP4 in {word}", "transformers", partial(float4_in_bytes, dtype=getattr(torch, word)))
        for word in ("int8", "uint8")
    ),
    Case("safetensors", "MXFP4 as in gpt-oss", "transformers", experts_in_mxfp4),
    Case("safetensors", "ModelOpt NVFP4", FORMULA, modelopt_float4),
    *(
        Case("safetensors", f"MLX affine {bits} bit", FORMULA, partial(mlx, bits=bits, dtype=np.float16))
        for bits in (2, 3, 4, 5, 6, 8)
    ),
    *(Case("safetensors", label, "torchao", make) for label, make in torchao_cases()),
    *(
        Case("safetensors", name, "packed layout, not decoded", partial(only_listed, parts=parts), "listed only")
        for name, parts in LISTED.items()
    ),
)
