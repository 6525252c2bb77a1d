"""The bytes of arrays that others own, looked at anew each time: what has changed since shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from quantwidget.errors import CorruptModelError
from quantwidget.live.found import torch_if_imported

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.live.found import Get


class Flat(Protocol):
    """Copies elements ``start`` to ``stop`` of an array in C order to the host, as bytes."""

    def __call__(self, array: Any, start: int, stop: int, /) -> npt.NDArray[np.uint8]:  # noqa: ANN401, D102 - any library's array
        ...


@dataclass(frozen=True)
class Memory:
    """The bytes of an array in C order; a `quantwidget.sources.ByteSource`.

    Attributes
    ----------
    get
        Gives the array as it is now.
    shape
        Its shape; an array that has another one by then is refused.
    itemsize
        Bytes of one element.
    flat
        Reads a run of elements.
    """

    get: Get
    shape: tuple[int, ...]
    itemsize: int
    flat: Flat

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return math.prod(self.shape) * self.itemsize

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Look at a range; see `quantwidget.sources.ByteSource`."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            message = f"the array holds {self.nbytes} bytes; bytes {offset} to {offset + nbytes} lie outside it"
            raise CorruptModelError(message)
        array = self.get()
        check_shape(tuple(array.shape), self.shape)
        start, stop = offset // self.itemsize, -(-(offset + nbytes) // self.itemsize)
        content = self.flat(array, start, stop)[offset - start * self.itemsize :][:nbytes]
        content.flags.writeable = False  # it may be the model's own memory
        return content


def check_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse an array that is no longer the one that was opened.

    Raises
    ------
    CorruptModelError
        The shapes differ.
    """
    if shape != expected:
        message = f"an array of shape {list(expected)} has become one of {list(shape)}: open the model again"
        raise CorruptModelError(message)


def flat_tensor(tensor: Any, start: int, stop: int) -> npt.NDArray[np.uint8]:  # noqa: ANN401 - torch.Tensor
    """Read a run of a tensor of torch; only the run leaves its device."""
    torch = torch_if_imported()
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - the only way past a subclass's own operators
        part = tensor.detach().reshape(-1)[start:stop].to("cpu").contiguous()
        return cast("npt.NDArray[np.uint8]", part.view(torch.uint8).numpy())


def flat_array(array: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[np.uint8]:
    """Read a run of an array of NumPy."""
    part = array.reshape(-1)[start:stop] if array.flags.c_contiguous else array.flat[start:stop]
    return np.ascontiguousarray(part).view(np.uint8)
