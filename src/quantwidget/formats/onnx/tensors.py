"""One ``TensorProto``: its type, its shape and where its elements lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from quantwidget.dtypes import DTYPES, DType
from quantwidget.errors import CorruptModelError
from quantwidget.formats.onnx.limits import text
from quantwidget.formats.onnx.protobuf import RAW_DATA, STRING_DATA, Extent, SlimModel
from quantwidget.formats.onnx.varints import PackedVarints
from quantwidget.layouts import Sparse
from quantwidget.sources import HeldBytes, SourceSlice
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import SparseTensorProto

    from quantwidget.formats.onnx.external import ExternalData, ExternalFiles
    from quantwidget.sources import ByteSource

MAX_DIMENSIONS = 32
MAX_ELEMENTS = 1 << 56

DTYPE_NAMES: dict[int, str] = {
    TensorProto.BOOL: "bool",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
    TensorProto.INT32: "int32",
    TensorProto.UINT32: "uint32",
    TensorProto.INT64: "int64",
    TensorProto.UINT64: "uint64",
    TensorProto.FLOAT16: "float16",
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
    TensorProto.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    TensorProto.FLOAT8E5M2: "float8_e5m2",
    TensorProto.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    TensorProto.UINT4: "uint4",
    TensorProto.INT4: "int4",
    # Numbers 23 to 26 are newer than onnx 1.17 and not in its TensorProto.
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}
"""``TensorProto.data_type`` to a key of `DTYPES`."""

_DTYPES = {number: DTYPES[name] for number, name in DTYPE_NAMES.items()}

_WORDS: dict[int, str] = {
    **{number: word for word, number in TensorProto.DataType.items()},
    23: "FLOAT4E2M1",
    24: "FLOAT8E8M0",
    25: "UINT2",
    26: "INT2",
    27: "FLOAT6E2M3",
    28: "FLOAT6E3M2",
}

_FIELD_NUMBERS = {"float_data": 4, "int32_data": 5, "int64_data": 7, "double_data": 10, "uint64_data": 11}


@dataclass(eq=False, slots=True, kw_only=True)
class StoredTensor:
    """What a file holds for one tensor.

    Attributes
    ----------
    dtype
        A key of `DTYPES`, or the file's own word, lower case, for a type that is not in it.
    storage_dtype
        The name that ``onnx.proto`` gives the type.
    shape
        Elements per dimension; empty when the file's own shape makes no sense.
    nbytes
        Bytes of the elements in the file.
    storage
        Where they lie; None when they cannot be reached, and then ``note`` says why.
    sparse
        The dense elements of a sparse tensor, whose ``storage`` is None.
    external
        File, offset and length of data beside the model, else None.
    """

    dtype: str
    storage_dtype: str
    shape: tuple[int, ...]
    nbytes: int = 0
    storage: Storage | None = None
    sparse: Sparse | None = None
    external: ExternalData | None = None
    note: str = ""


class TensorReader:
    """Finds the elements of a model's tensors; nothing is copied but what protobuf already holds.

    Parameters
    ----------
    source
        The serialized model.
    external
        Files that lie beside it.
    model
        The model without its payloads.
    """

    def __init__(self, source: ByteSource, external: ExternalFiles, model: SlimModel) -> None:
        self._source, self._external, self._model = source, external, model

    def read(self, tensor: TensorProto) -> StoredTensor:
        """Describe a tensor; what is wrong with it is told in its note and never raised."""
        shape = tuple(tensor.dims[:])
        dtype, name, word, needed, problem = _facts(tensor.data_type, shape)
        if problem:
            return StoredTensor(dtype=name, storage_dtype=word, shape=(), note=problem)
        if tensor.data_type == TensorProto.STRING:
            nbytes = self._string_bytes(tensor)
            return StoredTensor(dtype=name, storage_dtype=word, shape=shape, nbytes=nbytes, note="text, not numbers")
        if dtype is None:
            note = f"elements of {word} are not decoded"
            return StoredTensor(dtype=name, storage_dtype=word, shape=shape, note=note)
        external = None
        source: ByteSource
        try:
            if tensor.data_location == TensorProto.EXTERNAL:
                external = self._external.locate({text(pair.key): text(pair.value) for pair in tensor.external_data})
                source, extent = external.file, Extent(external.offset, external.nbytes)
            else:
                source, extent = self._inline(tensor, dtype, needed)
            if extent.nbytes != needed and not isinstance(source, PackedVarints):
                note = f"{extent.nbytes} bytes are stored, shape {list(shape)} of {dtype.name} takes {needed}"
                return StoredTensor(dtype=name, storage_dtype=word, shape=(), note=note)
            storage = Storage(source, dtype, shape, extent.offset)
        except (ValueError, OSError) as error:
            note = str(error)
            if isinstance(error, CorruptModelError):  # the bytes contradict the shape; else they are out of reach
                note, shape = f"shape {list(shape)}: {note}", ()
            return StoredTensor(dtype=name, storage_dtype=word, shape=shape, note=note)
        return StoredTensor(
            dtype=name, storage_dtype=word, shape=shape, nbytes=extent.nbytes, storage=storage, external=external
        )

    def read_sparse(self, sparse: SparseTensorProto, values: StoredTensor) -> StoredTensor:
        """Describe a sparse tensor, of which ``values`` are the elements that are not zero."""
        problem = shape_problem(sparse.dims)
        if problem:
            return replace(values, shape=(), nbytes=0, storage=None, external=None, note=problem)
        shape = tuple(sparse.dims)
        listed = replace(values, shape=shape, storage=None, external=None)
        places = self.read(sparse.indices)
        if values.storage is None or places.storage is None:
            return replace(listed, note=f"sparse: {values.note or places.note}")
        try:
            elements = Sparse(values.storage, places.storage, shape)
        except ValueError as error:
            return replace(listed, note=f"sparse: {error}")
        note = f"sparse: {values.storage.size} of {elements.size} elements are stored"
        return replace(listed, nbytes=elements.nbytes, sparse=elements, note=note)

    def _inline(self, tensor: TensorProto, dtype: DType, needed: int) -> tuple[ByteSource, Extent]:
        """Find elements inside the model file: the bytes that they begin in, where, and the bytes that they take.

        Packed numbers take fewer bytes, or more, than the words that they are shown as.
        """
        raw_data = tensor.raw_data
        taken = self._model.extents_of(raw_data)
        if taken is None and tensor.HasField("raw_data"):
            return HeldBytes(raw_data), Extent(0, len(raw_data))
        if taken and RAW_DATA in taken:
            return self._source, taken[RAW_DATA]
        field, width = _typed_field(dtype)
        extent = taken.get(_FIELD_NUMBERS[field]) if taken else None
        if extent is None:
            held = HeldBytes(np.asarray(getattr(tensor, field)).astype(f"<{_KINDS[field]}{width}").view(np.uint8))
            return held, Extent(0, held.nbytes)
        if _KINDS[field] == "f":
            return self._source, extent
        packed = SourceSlice(self._source, extent.offset, extent.nbytes)
        return PackedVarints(packed, needed // width, width), Extent(0, extent.nbytes)

    def _string_bytes(self, tensor: TensorProto) -> int:
        taken = self._model.extents_of(tensor.raw_data) or {}
        return taken.get(STRING_DATA, Extent(0, 0)).nbytes + sum(map(len, tensor.string_data))


@lru_cache(maxsize=4096)
def _facts(data_type: int, shape: tuple[int, ...]) -> tuple[DType | None, str, str, int, str]:
    """Look at a type and a shape, which many tensors share: dtype, its name and word, bytes, and what is wrong."""
    word = type_word(data_type)
    dtype = _DTYPES.get(data_type)
    problem = shape_problem(shape)
    nbytes = 0 if problem or dtype is None else dtype.nbytes(math.prod(shape))
    return dtype, dtype.name if dtype else word.lower(), word, nbytes, problem


def type_word(data_type: int) -> str:
    """``onnx.proto``'s name of an element type, or ``"type 77"`` for an unknown number."""
    return _WORDS.get(data_type) or f"type {data_type}"


_KINDS = {"float_data": "f", "double_data": "f", "int32_data": "u", "int64_data": "u", "uint64_data": "u"}


def _typed_field(dtype: DType) -> tuple[str, int]:
    """Name the field that holds elements of a type when ``raw_data`` does not, and the bytes of one entry's value.

    Bits of narrow types lie in ``int32_data``; 4-bit and 2-bit elements share an entry as they share a byte.
    """
    match dtype.name:
        case "float32" | "complex64":
            return "float_data", 4
        case "float64" | "complex128":
            return "double_data", 8
        case "int64":
            return "int64_data", 8
        case "uint32" | "uint64":
            return "uint64_data", dtype.numpy.itemsize
    return "int32_data", dtype.numpy.itemsize


def shape_problem(dims: Sequence[int]) -> str:
    """Tell why a shape is not shown; empty when it can be."""
    if len(dims) > MAX_DIMENSIONS:
        return f"a shape of {len(dims)} dimensions is not read, {MAX_DIMENSIONS} is the limit"
    if dims and min(dims) < 0:
        return f"the shape {list(dims)} has a negative dimension"
    if (math.prod(dims) or math.prod(filter(None, dims))) > MAX_ELEMENTS:
        return f"the shape {list(dims)} has more elements than any file"
    return ""
