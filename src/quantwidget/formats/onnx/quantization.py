"""How the graph decodes a constant: found by the role that a node gives it, never by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.formats.onnx.annotated import annotated
from quantwidget.formats.onnx.decoding import (
    VALUE_DTYPES,
    Decoding,
    Parameters,
    UndecodedError,
    block_shape,
    kind_of,
    opaque,
    scheme_of,
    spread,
    values_dtype,
)
from quantwidget.formats.onnx.moves import shapes_along, taken_back
from quantwidget.formats.onnx.operators import (
    BLOCK_SIZES,
    MOVES,
    Codes,
    DerivedCodes,
    OpaqueCodes,
    SimulatedCodes,
    UnscaledCodes,
    axis_of,
    reading,
    readings,
)
from quantwidget.formats.onnx.packing import unpacked
from quantwidget.formats.onnx.products import scaled_afterwards, scaled_floats
from quantwidget.formats.onnx.simulated import simulated
from quantwidget.formats.onnx.tensors import DTYPE_NAMES
from quantwidget.layouts import Computed
from quantwidget.quant import scale_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from quantwidget.formats.onnx.graph import Constant, Graph, Key, Node
    from quantwidget.formats.onnx.operators import Reading
    from quantwidget.formats.onnx.tensors import StoredTensor
    from quantwidget.storage import Elements, Region, Storage


class Quantizer:
    """Finds the scheme of each constant.

    Parameters
    ----------
    graph
        The model's graph.
    stored
        What the file holds for each constant.
    """

    def __init__(self, graph: Graph, stored: Mapping[Constant, StoredTensor]) -> None:
        self._graph, self._parameters = graph, Parameters(graph, stored)
        self._reads_codes = any(map(readings, graph.nodes))

    def decoding(self, constant: Constant, tensor: StoredTensor) -> Decoding:
        """Tell how a constant is to be read; a scheme that cannot be put together is ``opaque``, with a note."""
        if tensor.dtype not in DTYPES:
            return Decoding(None, tensor.dtype)
        if self._reads_codes:
            for use, path in self._graph.reached(constant.key, MOVES):
                found = reading(use.node, use.at)
                if found is not None:
                    return self._read(constant, use.node, found, tensor, path)
        if DTYPES[tensor.dtype].kind == "float" and DTYPES[tensor.dtype].bits <= 8:  # noqa: PLR2004 - a byte
            scaled = scaled_floats(self._parameters, constant.key, tensor, DTYPES[tensor.dtype])
            if scaled is not None:
                return scaled
        return annotated(self._parameters, constant, tensor)

    def _read(
        self, constant: Constant, node: Node, found: Reading, tensor: StoredTensor, path: tuple[Node, ...]
    ) -> Decoding:
        try:
            decoding = self._moved(node, found, tensor, path) if path else self._direct(node, found, tensor)
        except UndecodedError as error:
            if isinstance(found, SimulatedCodes):
                note = f"fake-quantized in the graph ({node.op}): {error}"
                return Decoding(None, tensor.dtype, note)
            return Decoding(opaque(tensor, node.op, error.origin), tensor.dtype, str(error))
        if isinstance(found, Codes) and not path and self._has_other_scales(constant, node, found):
            return decoding._replace(note="other nodes read the same codes with another scale; the first one is shown")
        return decoding

    def _direct(self, node: Node, found: Reading, tensor: StoredTensor) -> Decoding:
        match found:
            case SimulatedCodes():
                return simulated(self._parameters, node, found, tensor)
            case UnscaledCodes():
                return scaled_afterwards(self._parameters, node, found, tensor, DTYPES[tensor.dtype])
            case DerivedCodes():
                return self._derived(node, found, tensor)
            case Codes(layout="plain"):
                return self._explicit(node, found, tensor)
            case Codes():
                return unpacked(self._parameters, node, found, tensor)
            case OpaqueCodes():
                message = f"weight of {node.op}: {found.reason}"
                raise UndecodedError(message)

    def _moved(self, node: Node, found: Reading, tensor: StoredTensor, path: tuple[Node, ...]) -> Decoding:
        """Decode codes that the graph transposes or reshapes before; one scale for all of them fits in any place."""
        shapes = shapes_along(self._parameters, path, tensor.shape)
        decoding = self._direct(node, found, tensor if shapes is None else replace(tensor, shape=shapes[-1]))
        if decoding.scheme is None or decoding.scheme.granularity == "per_tensor":
            return self._direct(node, found, tensor)
        if shapes is None or decoding.elements is not None:
            message = f"moved in the graph ({path[0].op}) before {node.op} decodes it with several scales"
            raise UndecodedError(message)
        return decoding._replace(scheme=taken_back(decoding.scheme, path, shapes))

    def _has_other_scales(self, constant: Constant, node: Node, found: Codes) -> bool:
        parameters = self._sources(node, found)
        for use in self._graph.uses(constant.key):
            other = reading(use.node, use.at)
            if isinstance(other, Codes) and self._sources(use.node, other) != parameters:
                return True
        return False

    def _sources(self, node: Node, found: Codes) -> list[Key | None]:
        keys = (node.input(found.scale), node.input(found.zero_point))
        return [None if key is None else self._graph.source(key) for key in keys]

    def _explicit(self, node: Node, found: Codes, tensor: StoredTensor) -> Decoding:
        dtype, shape = DTYPES[tensor.dtype], tensor.shape
        scale = self._parameters.scale(node, found.scale)
        zero_point = self._parameters.find(node, found.zero_point, "zero point")
        size = node.integer("block_size", BLOCK_SIZES.get(node.op, 0))
        blocks = block_shape(shape, scale.shape, axis_of(node, found), size)
        if blocks is None:
            message = f"{node.op}: a scale of shape {list(scale.shape)} does not fit a tensor of shape {list(shape)}"
            raise UndecodedError(message)
        if zero_point is not None and zero_point.size not in {1, scale.size}:
            message = f"{node.op}: {scale.size} scales and {zero_point.size} zero points"
            raise UndecodedError(message)
        if zero_point is not None and kind_of(dtype, node.op) == "float":
            if not self._parameters.is_zero(zero_point):
                message = f"{node.op}: codes of type {dtype.name} with a zero point other than 0"
                raise UndecodedError(message)
            zero_point = None
        output = DTYPE_NAMES.get(node.integer("output_dtype", 0), "")
        wanted = scale_shape(shape, blocks)
        if 0 in wanted:
            zero_point = None
        points = None if zero_point is None else spread(zero_point, wanted)
        scheme = scheme_of(node.op, dtype, (shape, blocks), scale if 0 in wanted else scale.reshape(wanted), points)
        return Decoding(scheme, output if output in VALUE_DTYPES else values_dtype(scale.dtype))

    def _derived(self, node: Node, found: DerivedCodes, tensor: StoredTensor) -> Decoding:
        first, second = (self._parameters.scale(node, index) for index in found.factors)
        sizes = {first.size, second.size} - {1}
        blocks = block_shape(tensor.shape, (next(iter(sizes), 1),), -1, 0)
        if len(sizes) > 1 or blocks is None:
            message = (
                f"{node.op}: {max(first.size, second.size)} scales do not fit a bias of shape {list(tensor.shape)}"
            )
            raise UndecodedError(message)
        scale = _product((first, second), node.number("alpha", 1.0), scale_shape(tensor.shape, blocks))
        scheme = scheme_of(node.op, DTYPES[tensor.dtype], (tensor.shape, blocks), scale, origin="derived")
        return Decoding(scheme, "float32")


def _product(factors: tuple[Storage, Storage], multiplier: float, shape: tuple[int, ...]) -> Elements:
    """Multiply two scales, of equal size or one of them of size 1, in float32."""

    def multiply(region: Region) -> npt.NDArray[np.generic]:
        parts = [factor.reshape((factor.size,)).read(region[-1:] if factor.size > 1 else None) for factor in factors]
        first, second = (part.astype(np.float32) for part in parts)
        product: npt.NDArray[np.generic] = first * second * np.float32(multiplier)
        return product

    return Computed(DTYPES["float32"], shape, multiply, sum(factor.nbytes for factor in factors))
