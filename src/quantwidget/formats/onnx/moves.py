"""Codes that are transposed or reshaped before they are decoded: the scheme, seen from how they are stored."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from quantwidget.formats.onnx.decoding import UndecodedError
from quantwidget.layouts import Computed, Permuted
from quantwidget.quant import axis_blocks, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantwidget.formats.onnx.decoding import Parameters
    from quantwidget.formats.onnx.graph import Node
    from quantwidget.quant import QuantScheme
    from quantwidget.storage import Elements

_MAX_RANK = 32

Shape = tuple[int, ...]


def shapes_along(parameters: Parameters, path: Sequence[Node], shape: Shape) -> list[Shape] | None:
    """List the shapes before, between and after moves; None when one of them cannot be told from the file."""
    shapes = [shape]
    for node in path:
        moved = _moved(parameters, node, shapes[-1])
        if moved is None or math.prod(moved) != math.prod(shape):
            return None
        shapes.append(moved)
    return shapes


def taken_back(scheme: QuantScheme, path: Sequence[Node], shapes: Sequence[Shape]) -> QuantScheme:
    """Turn a scheme for moved codes into one for the codes as they are stored.

    Raises
    ------
    UndecodedError
        A scale was one for each index of a dimension, and no longer is.
    """
    blocks, axis = scheme.block_shape, scheme.axis
    sides = [scheme.scale_storage, scheme.zero_point_storage]
    for node, before, after in zip(reversed(path), reversed(shapes[:-1]), reversed(shapes[1:]), strict=True):
        axes = _axes(node, len(before))
        if axis is not None:
            axis = axes[axis] if axes is not None else _same_dimension(axis, before, after)
        elif axes is not None:
            places = sorted(range(len(axes)), key=axes.__getitem__)
            blocks = tuple(blocks[place] for place in places)
            sides = [None if side is None else Permuted(side, tuple(places)) for side in sides]
        if axis is None and axes is None:
            message = f"reshaped in the graph ({node.op}) before {scheme.source} decodes it with several scales"
            raise UndecodedError(message)
        if axis is not None:
            blocks = axis_blocks(before, axis)
    if axis is not None:
        sides = [_shown(side, scale_shape(shapes[0], blocks)) for side in sides]
    scale, zero_point = sides
    changed = {"shape": shapes[0], "block_shape": blocks, "scale_storage": scale, "zero_point_storage": zero_point}
    return type(scheme)(**{**vars(scheme), **changed})


def _shown(side: Elements | None, shape: Shape) -> Elements | None:
    if isinstance(side, Storage):
        return side.reshape(shape)
    return replace(side, shape=shape) if isinstance(side, Computed) else None  # one zero point at every place


def _same_dimension(axis: int, before: Shape, after: Shape) -> int | None:
    """Find the dimension that a reshaped one was: as long, and with as many elements before it."""
    ahead = math.prod(after[:axis])
    fits = (
        place for place, length in enumerate(before) if length == after[axis] and math.prod(before[:place]) == ahead
    )
    return next(fits, None)


def _axes(node: Node, rank: int) -> Shape | None:
    """For each dimension of a Transpose's output, the one of its input; None for another operator."""
    if node.op != "Transpose":
        return None
    axes = tuple(node.integers("perm", range(rank - 1, -1, -1)))
    return axes if sorted(axes) == list(range(rank)) else None


def _moved(parameters: Parameters, node: Node, shape: Shape) -> Shape | None:
    """Work out the shape of a node's output; None when it is not in the file."""
    rank = len(shape)
    match node.op:
        case "Transpose":
            order = _axes(node, rank)
            return None if order is None else tuple(shape[axis] for axis in order)
        case "Flatten":
            axis = node.integer("axis", 1)
            axis = axis + rank if axis < 0 else axis
            return (math.prod(shape[:axis]), math.prod(shape[axis:])) if 0 <= axis <= rank else None
        case "Reshape":
            lengths = parameters.integers(node, 1, _MAX_RANK)
            keeps_zero = bool(node.integer("allowzero", 0))
            return None if lengths is None else _reshaped(shape, lengths, keeps_zero=keeps_zero)
        case "Squeeze" | "Unsqueeze":
            is_given = node.input(1) is not None
            axes = parameters.integers(node, 1, _MAX_RANK) if is_given else node.integers("axes", ())[:_MAX_RANK]
            return None if axes is None else _squeezed(node.op, shape, axes)
    return None


def _squeezed(op: str, shape: Shape, axes: Sequence[int]) -> Shape:
    if op == "Squeeze":
        gone = {axis % len(shape) for axis in axes if shape}
        gone = gone or {place for place, length in enumerate(shape) if length == 1}
        return tuple(length for place, length in enumerate(shape) if place not in gone)
    rank = len(shape) + len(axes)
    new, rest = {axis % rank for axis in axes}, iter(shape)
    return tuple(1 if place in new else next(rest, 1) for place in range(rank))


def _reshaped(shape: Shape, stated: Sequence[int], *, keeps_zero: bool) -> Shape | None:
    lengths = [
        shape[place] if length == 0 and not keeps_zero and place < len(shape) else length
        for place, length in enumerate(stated)
    ]
    if -1 in lengths:
        rest = math.prod(length for length in lengths if length != -1)
        if rest <= 0:
            return None
        lengths[lengths.index(-1)] = math.prod(shape) // rest
    return tuple(lengths) if min(lengths, default=0) >= 0 else None
