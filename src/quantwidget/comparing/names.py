"""What a tensor's name says about it, whatever framework or converter wrote it."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantwidget.index import TensorIndex
    from quantwidget.quant import QuantScheme
    from quantwidget.tensor import TensorRef

    Key = tuple[str, ...]

LONGEST = 1000
"""Characters of a name that are looked at."""

_LONGEST_ENDING = 64

_WRAPPERS = frozenset({
    *("model", "module", "net", "network", "state_dict", "_orig_mod", "_fsdp_wrapped_module"),
    *("_checkpoint_wrapped_module", "_packed_params", "parametrizations", "original", "original0"),
    *("readvariableop", "resource", "params"),
})  # fmt: skip
"""Parts of a name that a framework adds around the names that people gave."""

_ROLES = {
    **dict.fromkeys(("kernel", "weights", "qweight", "gamma", "depthwise_kernel", "embedding"), "weight"),
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""One word for each role."""

_ADDED = re.compile(
    r"(?:_(?:quantized|quantize|quant|dequantized|dequantize|dequant|dequantizelinear|quantizelinear|"
    r"q?u?int\d{1,2}|fp\d{1,2}|q\d?|dq|fq))+(?:_\d{1,3})?$"
)
"""What quantizers add to the end of a name."""

_GGUF = {
    "blk": ("layers",),
    "token_embd": ("embed_tokens",),
    "output_norm": ("norm",),
    "output": ("lm_head",),
    "attn_norm": ("input_layernorm",),
    "ffn_norm": ("post_attention_layernorm",),
    **{f"attn_{short}": ("self_attn", f"{short}_proj") for short in ("q", "k", "v")},
    "attn_output": ("self_attn", "o_proj"),
    **{f"ffn_{word}": ("mlp", f"{word}_proj") for word in ("gate", "up", "down")},
}
"""Names of llama.cpp by those of Transformers, for models like Llama (``gguf-py/gguf/tensor_mapping.py``)."""

_ZERO_POINT = re.compile(r"(?:^|[._/])(?:zero_?points?|qzeros|zeros|g_idx|absmax|quant_map|quant_state)(?:_\d+)?$")
_SCALE = re.compile(r"(?:^|[._/])(?:scales?|scale_inv|scb|weight_scale_2)(?:_\d+)?$")
_OF_A_TENSOR = re.compile(r"(?:input|output|weight|bias|activation)_(?:scales?|zero_?points?)(?:_\d+)?$")
_TRAILING_NUMBER = re.compile(r":\d{1,4}$")
_SEPARATORS = re.compile(r"[./:;\\]+")


def key(name: str, format: str = "") -> Key:  # noqa: A002 - the index's word
    """Split a name into the parts that people gave it: without wrappers, what quantizers add, and repetitions.

    ``"/layer1/layer1.0/conv1/Conv_weight_quantized"`` and ``"module.layer1.0.conv1.Conv_weight"`` have the same key.
    """
    parts = _SEPARATORS.split(_TRAILING_NUMBER.sub("", name[:LONGEST].lower()))
    kept: list[str] = []
    for part in parts:
        if part and part not in _WRAPPERS and not (kept and kept[-1] == part and not part.isdecimal()):
            kept.extend(_GGUF.get(part, (part,)) if format == "gguf" else (part,))
    if kept:
        kept[-1] = _role(kept[-1])
    return tuple(kept)


def keys(tensor: TensorRef, format: str) -> tuple[Key, ...]:  # noqa: A002 - the index's word
    """Return the keys of a tensor: of its name, and of its layer and role."""
    found = (key(tensor.name, format), key(f"{tensor.layer}.{tensor.role}", format))
    return tuple(dict.fromkeys(one for one in found if one))


def common_start(keys: Iterable[Key]) -> int:
    """Count the parts that all keys start with, at least one part of each left out of account."""
    heads = [one[:-1] for one in keys]
    if not heads:
        return 0
    pairs = zip(min(heads), max(heads), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def role_of(tensor: TensorRef) -> str:
    """Return a tensor's role by one word for each role."""
    return _role(tensor.role.lower())


class SideTensors:
    """Scales, zero points and other tensors that only serve to decode a model's weights or activations.

    Parameters
    ----------
    index
        The model.
    """

    def __init__(self, index: TensorIndex) -> None:
        self._is_quantized = index.is_quantized
        self._names = frozenset(index.tensors)
        self._layers = {tensor.layer for tensor in index.tensors.values() if tensor.is_quantized}
        self._places = {
            (id(storage.source), storage.offset)
            for tensor in index.tensors.values()
            if tensor.quant is not None
            for storage in _parameters(tensor.quant)
        }

    def __contains__(self, tensor: TensorRef) -> bool:
        """Tell whether a tensor is one."""
        if tensor.quant is not None:
            return False
        storage = tensor.storage
        if isinstance(storage, Storage) and (id(storage.source), storage.offset) in self._places:
            return True
        role, name = tensor.role.lower(), tensor.name.lower()
        if _ZERO_POINT.search(role) or _ZERO_POINT.search(name):
            return self._is_quantized
        if self._is_quantized and _OF_A_TENSOR.search(role):
            return True
        if _SCALE.search(role):
            beside = tensor.name.replace("scale", "zero_point")
            return (tensor.layer != "" and tensor.layer in self._layers) or (
                beside != tensor.name and beside in self._names
            )
        return False


def _role(word: str) -> str:
    """Leave out what quantizers add, and use one word for each role."""
    bare = word[:-_LONGEST_ENDING] + _ADDED.sub("", word[-_LONGEST_ENDING:]) or word
    return _ROLES.get(bare, bare)


def _parameters(quant: QuantScheme) -> Iterable[Storage]:
    parts = (quant.scale_storage, quant.zero_point_storage, quant.offset_storage, quant.group_index_storage)
    return (part for part in parts if isinstance(part, Storage))
