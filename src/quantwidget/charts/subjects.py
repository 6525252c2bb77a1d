"""What is drawn, as far as it matters here: tensors, models and comparisons are made above the charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from quantwidget.quant import QuantScheme
    from quantwidget.sketches import Sketch
    from quantwidget.sketches.channels import ChannelStatistics
    from quantwidget.wire import AffineMap, Space


class Chunk(Protocol):
    """A flat piece of a tensor."""

    @property
    def values(self) -> npt.NDArray[np.generic]:
        """Its values."""
        ...


class Tensor(Protocol):
    """`TensorRef`."""

    @property
    def name(self) -> str:
        """Unique within the model."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape."""
        ...

    @property
    def size(self) -> int:
        """Number of elements."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        ...

    @property
    def layer(self) -> str:
        """Path of the layer."""
        ...

    @property
    def storage_dtype(self) -> str:
        """Type as the file names it."""
        ...

    @property
    def alias_of(self) -> str | None:
        """Name of the tensor that holds the same bytes, or None."""
        ...

    @property
    def quant(self) -> QuantScheme | None:
        """Scheme; None for plain values."""
        ...

    @property
    def is_quantized(self) -> bool:
        """True when the file holds codes."""
        ...

    def affine_map(self) -> AffineMap | None:
        """Return the one map from codes to values, or None."""
        ...

    def channels(
        self, axis: int | None = None, *, space: Space = "values", histogram: bool = False
    ) -> ChannelStatistics:
        """Statistics of each channel or block."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Decode the tensor, some elements at a time."""
        ...

    def sketch(self) -> Sketch:
        """Summarise the whole tensor."""
        ...


class Model(Protocol):
    """`TensorIndex`."""

    @property
    def source(self) -> str:
        """Where the model came from."""
        ...

    @property
    def format(self) -> str:
        """File format."""
        ...

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Tensors by name."""
        ...


class Axis(Protocol):
    """One axis of `Density`."""

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Edges of the cells."""
        ...

    @property
    def low(self) -> float:
        """Smallest number."""
        ...

    def place(self, number: float) -> int:
        """Return the number of a cell, counted from the one that begins at zero."""
        ...


class Density(Protocol):
    """How often each size of the reference goes with each size of the error."""

    @property
    def reference(self) -> Axis:
        """Cells of the reference."""
        ...

    @property
    def error(self) -> Axis:
        """Cells of the error."""
        ...

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Counts, of shape ``[reference, error]``."""
        ...


class Pair(Protocol):
    """What was compared with what."""

    @property
    def reference(self) -> str:
        """Name of the reference's tensor."""
        ...


class Comparison(Protocol):
    """`Comparison` of `quantwidget.comparing`."""

    @property
    def pair(self) -> Pair:
        """What was compared with what."""
        ...

    @property
    def differing(self) -> int:
        """Elements that are not equal."""
        ...

    @property
    def reference_norm(self) -> float:
        """Euclidean norm of the reference."""
        ...

    @property
    def error_norm(self) -> float:
        """Euclidean norm of the error."""
        ...

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise."""
        ...

    @property
    def density(self) -> Density:
        """Counts of reference and error."""
        ...


class Comparisons(Protocol):
    """`ModelComparison`."""

    @property
    def index(self) -> Model:
        """The model."""
        ...

    def __getitem__(self, name: str) -> Comparison:
        """Compare one tensor."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of matched tensors."""
        ...
