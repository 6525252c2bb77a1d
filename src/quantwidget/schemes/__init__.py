"""Stored bytes to codes and values: one module per family of schemes, tried in the order of `SCHEMES`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from quantwidget.errors import NotDecodedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quantwidget.record import TensorRecord
    from quantwidget.storage import Region


class Scheme(Protocol):
    """What a module of this package offers."""

    def matches(self, record: TensorRecord) -> bool:
        """Tell whether this family decodes the tensor; its storage can be read."""
        ...

    def codes(self, record: TensorRecord, region: Region) -> npt.NDArray[np.generic] | None:
        """Read the codes of a region, in the scheme's code type; None where there are no codes.

        Returns
        -------
        numpy.ndarray or None
            Shape: the lengths of the region's slices.
        """
        ...

    def values(
        self, record: TensorRecord, region: Region, codes: npt.NDArray[np.generic] | None
    ) -> npt.NDArray[np.generic]:
        """Give the values of a region from its codes.

        Returns
        -------
        numpy.ndarray
            Shape: the lengths of the region's slices. float32 where there are codes.
        """
        ...


SCHEMES: tuple[Scheme, ...] = tuple(
    cast("Scheme", import_module(f"{__name__}.{name}"))
    for name in (
        "plain",
        "affine",
        "scaled_float",
        "codebook",
    )
)
"""One line for each module."""


def scheme_of(record: TensorRecord) -> Scheme | None:
    """Return the family that decodes the tensor, or None when nobody does or the bytes cannot be reached."""
    if record.storage is None:
        return None
    return next((scheme for scheme in SCHEMES if scheme.matches(record)), None)


def decoding_scheme(record: TensorRecord) -> Scheme:
    """Return the family that decodes the tensor.

    Raises
    ------
    NotDecodedError
        There is none: the tensor is listed only.
    """
    scheme = scheme_of(record)
    if scheme is None:
        message = f"{record.name} is listed only: {record.note or 'its scheme is not decoded'}"
        raise NotDecodedError(message)
    return scheme
