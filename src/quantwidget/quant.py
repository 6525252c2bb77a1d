"""How codes become values, as a format or a convention states it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.errors import CorruptModelError
from quantwidget.wire import MOST_LEVELS

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.storage import Elements

Kind = Literal["affine", "float", "codebook", "opaque"]
Granularity = Literal["per_tensor", "per_axis", "per_block"]
ScaleOrigin = Literal["explicit", "derived", "runtime", "missing", "assumed"]
Status = Literal["stored", "simulated", "undecoded"]

_FORMULAS: dict[Kind, str] = {
    "affine": "values = (codes − zero_point) · scale",
    "float": "values = codes · scale",
    "codebook": "values = codebook[codes] · scale",
    "opaque": "",
}

_ORIGINS: dict[ScaleOrigin, str] = {
    "explicit": "",
    "derived": "the scale is derived from other stored scales",
    "runtime": "the scale is known only when the model runs",
    "missing": "the scale is missing",
    "assumed": "the scheme is assumed from names and shapes",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class QuantScheme:
    """How codes become values.

    ``values = (codes - zero_point) * scale + offset`` for ``kind="affine"``, ``codes * scale`` for ``"float"`` (codes
    are narrow floats) and ``codebook[codes] * scale`` for ``"codebook"``.

    Attributes
    ----------
    kind
        ``"opaque"`` when the codes cannot be decoded.
    code_dtype
        Name of the codes' numeric type after unpacking, a key of `DTYPES`.
    code_min, code_max
        Smallest and largest code that the scheme may use.
    shape
        Logical shape of the tensor.
    block_shape
        Elements that share one scale, one number per dimension: equal to ``shape`` for one scale in all. A single
        number for a tensor of several dimensions means blocks that run over the flattened tensor, across its rows.
    scale_storage, zero_point_storage, offset_storage
        Where the parameters lie. Their shape is ``scale_shape(shape, block_shape)``. Without a zero point it is 0,
        without an offset there is none.
    codebook_storage
        The value of each code before scaling, shape ``[codes]``.
    group_index_storage
        For each index of the last dimension the block that it belongs to, where blocks are not runs of neighbours (GPTQ
        with act-order); shape ``[shape[-1]]``.
    code_nbytes
        Bytes that all codes take in the file, where that is not their width times their number: several codes may
        share bits (five ternary digits in a byte, places in a codebook of vectors).
    scale_levels
        The stored factors that the scale is made of, by the format's own words; for display.
    scale_origin
        ``explicit`` (stored for this tensor), ``derived`` (computed from other stored scales), ``runtime`` (known only
        when the model runs), ``missing``, ``assumed`` (nothing states the scheme: it is told from names and shapes).
    status
        ``stored`` (the file holds codes), ``simulated`` (the file holds floats that are fake-quantized) or
        ``undecoded``.
    source
        What states the scheme: an operator, class or block type, such as ``"DequantizeLinear"`` or ``"Q4_K"``.
    """

    kind: Kind
    code_dtype: str
    shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    scale_storage: Elements | None = None
    zero_point_storage: Elements | None = None
    offset_storage: Elements | None = None
    codebook_storage: Elements | None = None
    group_index_storage: Elements | None = None
    code_nbytes: int | None = None
    scale_levels: tuple[tuple[str, Elements], ...] = ()
    code_min: int | None = None
    code_max: int | None = None
    scale_origin: ScaleOrigin = "explicit"
    status: Status = "stored"
    source: str = ""

    def __repr__(self) -> str:
        """One line: kind, code type, granularity and where the scale comes from."""
        axis = "" if self.axis is None else f" {self.axis}"
        return (
            f"<QuantScheme {self.kind} {self.code_dtype} {self.granularity}{axis}, "
            f"scale {self.scale_origin}, {self.status}>"
        )

    @property
    def bits(self) -> int:
        """Width of one code in bits."""
        return DTYPES[self.code_dtype].bits

    @property
    def signed(self) -> bool:
        """True when codes may be negative by their type."""
        return DTYPES[self.code_dtype].kind != "uint"

    @property
    def bits_per_weight(self) -> float:
        """Bits that the file spends on one element: its code and its share of everything that decodes it."""
        sides = (
            self.scale_storage,
            self.zero_point_storage,
            self.offset_storage,
            self.codebook_storage,
            self.group_index_storage,
        )
        nbytes = sum(side.nbytes for side in sides if side is not None)
        size = max(math.prod(self.shape), 1)
        code_bits = self.bits if self.code_nbytes is None else 8 * self.code_nbytes / size
        return code_bits + 8 * nbytes / size

    @property
    def scale_shape(self) -> tuple[int, ...]:
        """Shape of scale, zero point and offset: ``ceil(shape / block_shape)``."""
        return scale_shape(self.shape, self.block_shape)

    @property
    def runs_flat(self) -> bool:
        """True when blocks run over the flattened tensor."""
        return len(self.block_shape) != len(self.shape)

    @property
    def granularity(self) -> Granularity:
        """``per_tensor``, ``per_axis`` (each index of one dimension has a scale) or ``per_block``."""
        if math.prod(self.scale_shape) <= 1:
            return "per_tensor"
        return "per_block" if self.axis is None else "per_axis"

    @property
    def axis(self) -> int | None:
        """The dimension kept when each of its indices has one scale, else None."""
        if self.runs_flat:
            return None
        varying = [axis for axis, count in enumerate(self.scale_shape) if count > 1]
        if len(varying) == 1 and self.block_shape[varying[0]] == 1:
            return varying[0]
        return None

    @cached_property
    def scale(self) -> npt.NDArray[np.generic] | None:
        """Scales as stored, shape `scale_shape`; read at first use."""
        return None if self.scale_storage is None else self.scale_storage.read()

    @cached_property
    def zero_point(self) -> npt.NDArray[np.generic] | None:
        """Zero points as stored, shape `scale_shape`; None means 0; read at first use."""
        return None if self.zero_point_storage is None else self.zero_point_storage.read()

    @cached_property
    def offset(self) -> npt.NDArray[np.generic] | None:
        """Floats added after scaling, shape `scale_shape`; None means none; read at first use."""
        return None if self.offset_storage is None else self.offset_storage.read()

    @cached_property
    def codebook(self) -> npt.NDArray[np.generic] | None:
        """Value of each code before scaling, shape ``[codes]``; None where codes are numbers; read at first use."""
        return None if self.codebook_storage is None else self.codebook_storage.read()

    @cached_property
    def group_index(self) -> npt.NDArray[np.generic] | None:
        """Block of each index of the last dimension; None where blocks are runs of neighbours; read at first use."""
        return None if self.group_index_storage is None else self.group_index_storage.read()

    @cached_property
    def levels(self) -> tuple[float, ...] | None:
        """What codes stand for before they are scaled, where that is not the codes themselves at equal distances.

        One number for each place of a codebook, in its order, or every finite number of a narrow float type, ascending.
        None for integers, for more than `wire.MOST_LEVELS` codes, and for a codebook that cannot be read or holds
        numbers that are not finite. A codebook is read at first use.
        """
        if self.kind == "codebook":
            return _levels_of(self)
        dtype = DTYPES.get(self.code_dtype)
        if self.kind != "float" or dtype is None or 1 << dtype.bits > MOST_LEVELS:
            return None
        patterns = np.arange(1 << dtype.bits, dtype=np.uint8)
        numbers = dtype.from_fields(patterns).astype(np.float64)
        # Negative zero and zero are one level.
        return tuple(np.unique(numbers[np.isfinite(numbers)] + 0.0).tolist())

    @property
    def formula(self) -> str:
        """How values come from codes, as a formula; empty when they cannot be decoded."""
        formula = _FORMULAS[self.kind]
        if self.zero_point_storage is None:
            formula = formula.replace("(codes − zero_point)", "codes")
        return f"{formula} + offset" if formula and self.offset_storage is not None else formula

    @property
    def words(self) -> str:
        """How values come from codes, as a sentence without its full stop."""
        if self.status == "undecoded":
            return f"{self.code_dtype} codes that are not decoded" + (f" ({self.source})" if self.source else "")
        held = "codes computed by the graph from stored floats" if self.status == "simulated" else "codes"
        parts = [f"{self.code_dtype} {held}", self._sharing()]
        if self.codebook_storage is not None:
            parts.append(f"a codebook of {math.prod(self.codebook_storage.shape)} values")
        if self.group_index_storage is not None:
            parts.append("each column's block told by an index")
        if self.scale_levels:
            parts.append(f"the scale made of {' and '.join(name for name, _ in self.scale_levels)}")
        if _ORIGINS[self.scale_origin]:
            parts.append(_ORIGINS[self.scale_origin])
        return ", ".join(parts) + (f" ({self.source})" if self.source else "")

    def _sharing(self) -> str:
        if self.granularity == "per_tensor":
            return "one scale for the whole tensor"
        if self.granularity == "per_axis":
            return f"one scale for each index of axis {self.axis}"
        if self.runs_flat:
            return f"one scale for each {self.block_shape[0]} elements in a row"
        return f"one scale for each block of {' × '.join(str(length) for length in self.block_shape)}"


def _levels_of(quant: QuantScheme) -> tuple[float, ...] | None:
    if quant.codebook_storage is None or not 0 < quant.codebook_storage.size <= MOST_LEVELS:
        return None
    try:
        codebook = quant.codebook
    except (CorruptModelError, OSError):
        return None
    if codebook is None:
        return None
    levels = codebook.reshape(-1).astype(np.float64)
    return tuple((levels + 0.0).tolist()) if np.isfinite(levels).all() else None


def scale_shape(shape: tuple[int, ...], block_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a scale: ``ceil(shape / block_shape)`` in every dimension, of the flattened shape for a single block."""
    if len(shape) != len(block_shape):
        shape = (math.prod(shape),)
    return tuple(-(-length // max(block, 1)) for length, block in zip(shape, block_shape, strict=True))


def axis_blocks(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Block shape of one scale for each index of a dimension, which may be counted from the end."""
    return tuple(1 if place == axis % len(shape) else length for place, length in enumerate(shape))
