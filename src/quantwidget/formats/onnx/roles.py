"""What a layer calls the tensor at an input of an operator.

Sources: the operator pages of ONNX (opset 10 to 25) and ``ContribOperators.md`` of ONNX Runtime.
"""

from __future__ import annotations

from functools import lru_cache

import onnx.defs

WEIGHT, BIAS = "weight", "bias"

_AFFINE = {1: WEIGHT, 2: BIAS}
_RECURRENT = {1: "W", 2: "R", 3: "B"}

ROLES: dict[str, dict[int, str]] = {
    "Conv": _AFFINE,
    "FusedConv": _AFFINE,
    "NhwcConv": _AFFINE,
    "NhwcFusedConv": _AFFINE,
    "ConvTranspose": _AFFINE,
    "DeformConv": {1: WEIGHT, 3: BIAS},
    "Gemm": {0: WEIGHT, 1: WEIGHT, 2: BIAS},
    "FusedGemm": {0: WEIGHT, 1: WEIGHT, 2: BIAS},
    "MatMul": {0: WEIGHT, 1: WEIGHT},
    "FusedMatMul": {0: WEIGHT, 1: WEIGHT},
    "Gather": {0: WEIGHT},
    "Attention": _AFFINE,
    "BatchNormalization": {1: WEIGHT, 2: BIAS, 3: "running_mean", 4: "running_var"},
    "LayerNormalization": _AFFINE,
    "GroupNormalization": _AFFINE,
    "InstanceNormalization": _AFFINE,
    "RMSNormalization": _AFFINE,
    "SimplifiedLayerNormalization": _AFFINE,
    "SkipLayerNormalization": {2: WEIGHT, 3: BIAS},
    "SkipSimplifiedLayerNormalization": {2: WEIGHT},
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "QLinearConv": {0: "input", 3: WEIGHT, 8: BIAS, 6: "output_scale", 7: "output_zero_point"},
    "QLinearMatMul": {0: "input", 3: WEIGHT, 6: "output_scale", 7: "output_zero_point"},
    "QGemm": {0: "input", 3: WEIGHT, 6: BIAS, 7: "output_scale", 8: "output_zero_point"},
    "QLinearAdd": {6: "output_scale", 7: "output_zero_point"},
    "QLinearMul": {6: "output_scale", 7: "output_zero_point"},
    "MatMulIntegerToFloat": {0: "input", 1: WEIGHT, 6: BIAS},
    "DynamicQuantizeMatMul": {1: WEIGHT, 4: BIAS},
    "ConvInteger": {0: "input", 1: WEIGHT, 2: "input_zero_point", 3: "weight_zero_point"},
    "MatMulInteger": {0: "input", 1: WEIGHT, 2: "input_zero_point", 3: "weight_zero_point"},
    "MatMulNBits": {1: WEIGHT, 2: "weight_scale", 3: "weight_zero_point", 4: "g_idx", 5: BIAS},
    "MatMulBnb4": {1: WEIGHT, 2: "weight_scale"},
    "GatherBlockQuantized": {0: WEIGHT, 2: "weight_scale", 3: "weight_zero_point"},
    "QAttention": {
        1: WEIGHT,
        2: BIAS,
        3: "input_scale",
        4: "weight_scale",
        6: "input_zero_point",
        7: "weight_zero_point",
    },
    "DynamicQuantizeLSTM": {**_RECURRENT, 8: "W_scale", 9: "W_zero_point", 10: "R_scale", 11: "R_zero_point"},
    "Quant": {0: WEIGHT, 3: "bits"},
    "IntQuant": {0: WEIGHT, 3: "bits"},
    "QMoE": {2: "fc1", 5: "fc2", 8: "fc3", 4: "fc1_bias", 7: "fc2_bias", 10: "fc3_bias"},
    "MatMulNBitsQkv": {2: "norm", 3: "q", 5: "q_bias", 6: "k", 8: "k_bias", 9: "v", 11: "v_bias"},
    "MatMulNBitsMlp": {2: "norm", 3: "gate", 5: "gate_bias", 6: "up", 8: "up_bias"},
    "MatMulBlockQuantizedFp8Weight": {1: WEIGHT, 2: "weight_scale", 3: "input_scale", 4: BIAS},
    "MatMulBlockQuantizedFp4Weight": {1: WEIGHT, 5: BIAS},
}
"""What a layer calls the tensor at an input, by operator and input number."""

_WORDLESS = frozenset({"data", "input", "inputs", "condition", "data_0"})
_SHORTEST_WORD = 3


@lru_cache(maxsize=1024)
def input_word(domain: str, op: str, version: int, index: int) -> str:
    """Look up the operator's own word for an input (``"shape"``, ``"axes"``); empty when it says nothing."""
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except (onnx.defs.SchemaError, TypeError):  # TypeError: the version is no 32-bit number
        return ""
    if index >= len(schema.inputs):
        return ""
    word = schema.inputs[index].name
    return word if len(word) >= _SHORTEST_WORD and word.islower() and word not in _WORDLESS else ""
