"""Tensors and what-ifs that tests are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from models import model, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.tensor import TensorRef


def tensor_of(array: npt.ArrayLike) -> TensorRef:
    return opened(plain("a", array))


def opened(record: TensorRecord) -> TensorRef:
    return model(record).tensors[record.name]


def asked(**changes: Any) -> dict[str, Any]:
    return {"number_format": "integer", "bits": 8, "symmetric": True, "granularity": "per_tensor", **changes}


def granularities(axis: int = -1) -> Iterator[dict[str, Any]]:
    yield asked()
    yield asked(granularity="per_axis", axis=axis)
    yield asked(granularity="per_block", axis=axis, group_size=16)


def spread(parameter: npt.NDArray[Any], what_if: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Give each element its scale, one at a time."""
    result = np.empty(shape, parameter.dtype)
    for index in np.ndindex(shape):
        place: tuple[int, ...] = ()
        if what_if.granularity == "per_axis":
            place = (index[what_if.axis],)
        elif what_if.granularity == "per_block":
            place = tuple(at // what_if.group_size if axis == what_if.axis else at for axis, at in enumerate(index))
        result[index] = parameter[place]
    return result


def blocks(array: npt.NDArray[Any], what_if: Any) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
    """Give the elements of each block, and the index of its scale."""
    if what_if.granularity == "per_tensor":
        yield (), array.reshape(-1)
    elif what_if.granularity == "per_axis":
        for channel in range(array.shape[what_if.axis]):
            yield (channel,), array.take(channel, what_if.axis).reshape(-1)
    else:
        moved, size = np.moveaxis(array, what_if.axis, -1), what_if.group_size
        for index in np.ndindex(moved.shape[:-1]):
            for block, start in enumerate(range(0, moved.shape[-1], size)):
                place = [*index]
                place.insert(what_if.axis, block)
                yield tuple(place), moved[index][start : start + size]
