"""Tensors of torch in memory: read a region at a time from wherever they are, each time as they are then.

torch is never imported here: an object of torch means that it is imported already.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.packed import layer_of
from quantwidget.layouts import Computed, PackedWords
from quantwidget.live.found import Found, joined, listed, torch_if_imported
from quantwidget.live.memory import Memory, check_shape, flat_tensor
from quantwidget.quant import QuantScheme, axis_blocks, scale_shape
from quantwidget.record import TensorRecord
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy.typing as npt

    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk
    from quantwidget.storage import Elements, Region

FORMAT = "state dict"

CODE_TYPES = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "quint4x2": "uint4", "quint2x4": "uint2"}
"""torch's words for quantized types, and the type of their codes."""

PAIRS = "float4_e2m1fn_x2"
"""Two numbers in each element, the first one in the low half."""

COMPLEX_HALVES = "complex32"
"""NumPy has no complex numbers of float16: they come as complex64."""

_PACKED_WEIGHT = "._packed_weight"
_PER_TENSOR = "torch.per_tensor_affine"
_PER_CHANNEL = {"torch.per_channel_affine", "torch.per_channel_affine_float_qparams"}


def matches(value: object) -> bool:
    """Tell whether a value is a tensor of torch."""
    return is_tensor(value)


def visit(path: str, get: Get, walk: Walk) -> None:
    """List one tensor; the weight of a quantized embedding belongs to the layer that packs it."""
    name = joined(layer_of(path), "weight") if path.endswith(_PACKED_WEIGHT) else path or "tensor"
    walk.model.add(describe(name, get))


def is_tensor(value: object) -> bool:
    """Tell whether an object is a tensor of torch."""
    torch = torch_if_imported()
    return torch is not None and isinstance(value, torch.Tensor)


def tensor_elements(get: Get) -> Elements | None:
    """Read a dense tensor of plain numbers region by region, from any device; None when its type is not known."""
    tensor = get()
    word, shape = word_of(tensor), tuple(tensor.shape)
    if word == PAIRS and shape:
        halves = Storage(Memory(get, shape, 1, flat_tensor), DTYPES["uint8"], shape)
        return PackedWords(halves, DTYPES["float4_e2m1fn"], (*shape[:-1], 2 * shape[-1]))
    dtype = DTYPES.get("complex64" if word == COMPLEX_HALVES else word)
    if dtype is None or dtype.is_packed:
        return None
    if word == COMPLEX_HALVES or tensor.is_conj() or tensor.is_neg() or not tensor.is_contiguous():
        return Computed(dtype, shape, partial(_read, get, shape, dtype.name), tensor.nbytes)
    return Storage(Memory(get, shape, tensor.element_size(), flat_tensor), dtype, shape)


def word_of(tensor: Any) -> str:  # noqa: ANN401 - torch.Tensor
    """Torch's word for the element type: ``"float32"``, ``"qint8"``."""
    return str(tensor.dtype).removeprefix("torch.")


def describe(name: str, get: Get, source: str = "qtensor") -> Found:
    """Describe a tensor without reading its elements; what is wrong with it is told in its note.

    Parameters
    ----------
    name
        Its name in the model.
    get
        Gives the tensor as it is now; asked again at each reading.
    source
        The class that holds a quantized tensor, for `QuantScheme.source`.
    """
    tensor = get()
    word = word_of(tensor)
    problem = problem_of(tensor)
    if problem:
        shape = () if _is_uninitialised(tensor) or tensor.is_nested else tuple(tensor.shape)
        return listed(name, shape=shape, dtype=word, note=problem)
    if tensor.is_quantized:
        return _quantized(name, get, source)
    elements = tensor_elements(get)
    if elements is None:
        note = f"elements of type {word} are not decoded"
        return listed(name, shape=tuple(tensor.shape), dtype=word, note=note, nbytes=tensor.nbytes)
    record = replace(record_of(name, elements, elements.dtype.name, word), storage_shape=tuple(tensor.shape))
    return Found(record, identity_of(tensor))


def record_of(
    name: str, elements: Elements | None, dtype: str, storage_dtype: str, quant: QuantScheme | None = None
) -> TensorRecord:
    """Make a record of elements whose layer and role are told by their name."""
    layer, _, role = name.rpartition(".")
    shape = () if elements is None else elements.shape
    return TensorRecord(
        name=name,
        layer=layer,
        role=role,
        shape=shape,
        dtype=dtype,
        storage_dtype=storage_dtype,
        storage_shape=shape,
        nbytes=0 if elements is None else elements.nbytes,
        storage=elements,
        quant=quant,
    )


def _read(get: Get, shape: tuple[int, ...], word: str, region: Region) -> npt.NDArray[np.generic]:
    """Copy a region of a view to the host."""
    torch, tensor = torch_if_imported(), get()
    check_shape(tuple(tensor.shape), shape)
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - the only way past a subclass's own operators
        part = tensor.detach()[region].resolve_conj().resolve_neg().to("cpu")
        if word_of(part) == COMPLEX_HALVES:
            part = part.to(torch.complex64)
        content = part.contiguous().reshape(-1).view(torch.uint8).numpy().copy()
        return cast("npt.NDArray[np.generic]", content.view(DTYPES[word].numpy).reshape(tuple(part.shape)))


def problem_of(tensor: Any) -> str:  # noqa: ANN401 - torch.Tensor
    """Say why a tensor has no elements that can be read; empty when it has."""
    torch = torch_if_imported()
    if _is_uninitialised(tensor):
        return "a parameter that is not initialised yet has no elements: run the model once"
    if tensor.layout is not torch.strided:
        return f"a tensor of layout {str(tensor.layout).removeprefix('torch.')} is not decoded"
    if tensor.is_nested:
        return "a nested tensor is not decoded"
    if tensor.is_meta:
        return "a meta tensor has no stored elements"
    if type(tensor).__name__ == "FakeTensor":
        return "a fake tensor has no stored elements"
    return ""


def _is_uninitialised(tensor: Any) -> bool:  # noqa: ANN401 - torch.Tensor
    return type(tensor).__name__ in {"UninitializedParameter", "UninitializedBuffer"}


def identity_of(tensor: Any) -> Hashable:  # noqa: ANN401 - torch.Tensor
    """Give what is equal for two tensors that show the same memory in the same way."""
    place = tensor.data_ptr()
    if not tensor.numel() or not place:
        return id(tensor)
    view = (tuple(tensor.shape), tensor.stride(), word_of(tensor), tensor.is_conj(), tensor.is_neg())
    return str(tensor.device), place, view


def _quantized(name: str, get: Get, source: str) -> Found:
    tensor = get()
    word, shape = word_of(tensor), tuple(tensor.shape)
    code_dtype, qscheme = CODE_TYPES.get(word, ""), str(tensor.qscheme())
    if not code_dtype or qscheme not in {_PER_TENSOR, *_PER_CHANNEL}:
        note = f"a tensor of type {word} and scheme {qscheme.removeprefix('torch.')} is not decoded"
        return listed(name, shape=shape, dtype=word, note=note, nbytes=tensor.untyped_storage().nbytes())
    block_shape, scale, zero_point = shape, np.array(0.0), np.array(0)
    if qscheme == _PER_TENSOR:
        scale, zero_point = np.array(tensor.q_scale(), np.float64), np.array(tensor.q_zero_point(), np.int64)
    else:
        axis = tensor.q_per_channel_axis()
        block_shape = axis_blocks(shape, axis)
        # Copied: those of an unpacked embedding lie in the packed object, which torch does not keep alive for them.
        scale, zero_point = (
            part.detach().cpu().numpy().copy()
            for part in (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())
        )
    parameters = scale_shape(shape, block_shape)
    has_scales = 0 not in parameters
    scheme = QuantScheme(
        kind="affine",
        code_dtype=code_dtype,
        shape=shape,
        block_shape=block_shape,
        scale_storage=Storage.of(scale.reshape(parameters) if has_scales else np.empty(parameters, scale.dtype)),
        zero_point_storage=Storage.of(
            zero_point.reshape(parameters) if has_scales else np.empty(parameters, zero_point.dtype)
        ),
        code_min=DTYPES[code_dtype].code_range[0],
        code_max=DTYPES[code_dtype].code_range[1],
        source=source,
    )
    record = record_of(name, _codes(get, DTYPES[code_dtype].name, shape), "float32", word, scheme)
    return Found(record, identity_of(tensor))


def _codes(get: Get, code_dtype: str, shape: tuple[int, ...]) -> Elements:
    """Look at the bytes of a quantized tensor as plain integers, without the copy that ``int_repr`` makes."""
    dtype = DTYPES[code_dtype]
    if dtype.is_packed:
        length = dtype.nbytes(get().numel())
        return Storage(Memory(partial(_bytes, get, length), (length,), 1, flat_tensor), dtype, shape)
    plain = tensor_elements(partial(_integers, get, code_dtype))
    if plain is None:
        message = f"there are no codes of {code_dtype}"
        raise ValueError(message)
    return plain


def _integers(get: Get, code_dtype: str) -> Any:  # noqa: ANN401 - torch.Tensor
    torch, tensor = torch_if_imported(), get()
    plain = torch.empty(0, dtype=getattr(torch, code_dtype), device=tensor.device)
    return plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def _bytes(get: Get, length: int) -> Any:  # noqa: ANN401 - torch.Tensor
    torch, tensor = torch_if_imported(), get()
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage(), 0, (length,), (1,))
