"""Facts of the TFLite schema: numbers of fields and of element types.

Source: ``schema.fbs`` of LiteRT, version 3 of the file format.
"""

from __future__ import annotations

IDENTIFIER = b"TFL3"
"""Stands at byte 4."""


class Model:
    """Fields of the table ``Model``."""

    VERSION, OPERATOR_CODES, SUBGRAPHS, DESCRIPTION, BUFFERS, _, METADATA = range(7)
    EXTERNAL_BUFFERS = 9


class SubGraph:
    """Fields of the table ``SubGraph``."""

    TENSORS, INPUTS, OUTPUTS, OPERATORS, NAME = range(5)


class Operator:
    """Fields of the table ``Operator``."""

    OPCODE_INDEX, INPUTS, OUTPUTS = range(3)


class OperatorCode:
    """Fields of the table ``OperatorCode``; the first one held every operator while there were fewer than 127."""

    DEPRECATED_BUILTIN_CODE, CUSTOM_CODE, VERSION, BUILTIN_CODE = range(4)


class Tensor:
    """Fields of the table ``Tensor``."""

    SHAPE, TYPE, BUFFER, NAME, QUANTIZATION, IS_VARIABLE, SPARSITY = range(7)
    EXTERNAL_BUFFER = 10


class Quantization:
    """Fields of the table ``QuantizationParameters``."""

    MIN, MAX, SCALE, ZERO_POINT, DETAILS_TYPE, DETAILS, QUANTIZED_DIMENSION = range(7)


class Details:
    """Kinds of ``QuantizationDetails``, by number."""

    NONE, CUSTOM, BLOCKWISE, MULTI_AXIS = range(4)


class Blockwise:
    """Fields of the table ``BlockwiseQuantization``."""

    SCALES, ZERO_POINTS, BLOCK_SIZE, BLOCK_SHAPE = range(4)


class Sparsity:
    """Fields of the table ``SparsityParameters``."""

    TRAVERSAL_ORDER, BLOCK_MAP, DIM_METADATA = range(3)


class Dimension:
    """Fields of the table ``DimensionMetadata``; each kind of vector stands before its table."""

    FORMAT, DENSE_SIZE, SEGMENTS_TYPE, SEGMENTS, INDICES_TYPE, INDICES = range(6)


class DimensionType:
    """Kinds of ``DimensionMetadata``, by number."""

    DENSE, SPARSE_CSR = range(2)


INDEX_VECTORS = (None, "int32", "uint16", "uint8")
"""Element types of ``SparseIndexVector``, by number; each is a table with the vector as its field 0."""


class Buffer:
    """Fields of the table ``Buffer``; offset and size stand for data after the FlatBuffer."""

    DATA, OFFSET, SIZE = range(3)


class Metadata:
    """Fields of the table ``Metadata``."""

    NAME, BUFFER = range(2)


TENSOR_TYPES = (
    ("FLOAT32", "float32"),
    ("FLOAT16", "float16"),
    ("INT32", "int32"),
    ("UINT8", "uint8"),
    ("INT64", "int64"),
    ("STRING", ""),
    ("BOOL", "bool"),
    ("INT16", "int16"),
    ("COMPLEX64", "complex64"),
    ("INT8", "int8"),
    ("FLOAT64", "float64"),
    ("COMPLEX128", "complex128"),
    ("UINT64", "uint64"),
    ("RESOURCE", ""),
    ("VARIANT", ""),
    ("UINT32", "uint32"),
    ("UINT16", "uint16"),
    ("INT4", "int4"),
    ("BFLOAT16", "bfloat16"),
    ("INT2", "int2"),
    ("UINT4", "uint4"),
    ("FLOAT8_E4M3FN", "float8_e4m3fn"),
    ("FLOAT8_E5M2", "float8_e5m2"),
)
"""TFLite's word and the name in `quantwidget.dtypes.DTYPES`, empty where elements are no numbers; by number."""
