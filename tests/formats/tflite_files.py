"""TFLite files made with LiteRT's own schema, and what LiteRT's interpreter makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

TYPES = {word: number for word, number in vars(schema.TensorType).items() if isinstance(number, int)}
OPERATORS = {word: number for word, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}


@dataclass
class Tensor:
    name: str | None
    word: str
    shape: Sequence[int]
    data: bytes | npt.NDArray[Any] | None = None
    scale: Sequence[float] | npt.NDArray[Any] | None = None
    zero_point: Sequence[int] | npt.NDArray[Any] | None = None
    axis: int = 0
    details: Any = None
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Op:
    op: str
    inputs: Sequence[int]
    outputs: Sequence[int]


def quantization(tensor: Tensor) -> schema.QuantizationParametersT | None:
    if tensor.scale is None and tensor.details is None:
        return None
    made = schema.QuantizationParametersT()
    made.scale = None if tensor.scale is None else np.asarray(tensor.scale, np.float32)
    made.zeroPoint = None if tensor.zero_point is None else np.asarray(tensor.zero_point, np.int64)
    made.quantizedDimension = tensor.axis
    if isinstance(tensor.details, schema.BlockwiseQuantizationT):
        made.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    elif isinstance(tensor.details, schema.CustomQuantizationT):
        made.detailsType = schema.QuantizationDetails.CustomQuantization
    made.details = tensor.details
    return made


def model_of(*graphs: tuple[Sequence[Tensor], Sequence[Op]]) -> schema.ModelT:
    model = schema.ModelT()
    model.version = 3
    model.description = "made for a test"
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    model.subgraphs = []
    kinds: dict[str, int] = {}
    for number, (tensors, ops) in enumerate(graphs):
        graph = schema.SubGraphT()
        graph.name = f"graph_{number}"
        graph.tensors = []
        graph.operators = []
        for tensor in tensors:
            made = schema.TensorT()
            made.name, made.type, made.shape = tensor.name, TYPES[tensor.word], list(tensor.shape)
            made.quantization = quantization(tensor)
            if tensor.data is not None:
                raw = tensor.data if isinstance(tensor.data, bytes) else tensor.data.tobytes()
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(raw, np.uint8)
                made.buffer = len(model.buffers)
                model.buffers.append(buffer)
            for name, value in tensor.changes.items():
                setattr(made, name, value)
            graph.tensors.append(made)
        for op in ops:
            if op.op not in kinds:
                kinds[op.op] = len(model.operatorCodes)
                code = schema.OperatorCodeT()
                code.builtinCode = OPERATORS.get(op.op, schema.BuiltinOperator.CUSTOM)
                code.deprecatedBuiltinCode = min(code.builtinCode, 127)
                code.customCode = None if op.op in OPERATORS else op.op
                code.version = 6 if op.op == "DEQUANTIZE" else 1
                model.operatorCodes.append(code)
            node = schema.OperatorT()
            node.opcodeIndex = kinds[op.op]
            node.inputs, node.outputs = list(op.inputs), list(op.outputs)
            graph.operators.append(node)
        written = {number for op in ops for number in op.outputs}
        read = {number for op in ops for number in op.inputs}
        graph.inputs = [
            place
            for place, made in enumerate(graph.tensors)
            if place in read and not made.buffer and place not in written
        ]
        graph.outputs = [place for place in sorted(written) if place not in read]
        model.subgraphs.append(graph)
    return model


def packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def file_of(*graphs: tuple[Sequence[Tensor], Sequence[Op]]) -> bytes:
    return packed(model_of(*graphs))


def pack(codes: npt.NDArray[Any], bits: int) -> bytes:
    """Put narrow codes into bytes, the first in the low bits."""
    fields = (codes.reshape(-1).astype(np.int64) & ((1 << bits) - 1)).astype(np.uint8)
    every = np.unpackbits(fields[:, None], axis=1, bitorder="little")[:, :bits]
    return np.packbits(every.reshape(-1), bitorder="little").tobytes()


def dequantized(tensor: Tensor) -> npt.NDArray[np.float32]:
    """Let LiteRT's DEQUANTIZE operator compute the values of a constant."""
    shape = list(tensor.shape)
    content = file_of(([tensor, Tensor("y", "FLOAT32", shape)], [Op("DEQUANTIZE", [0], [1])]))
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.invoke()
    return np.array(interpreter.get_tensor(1))
