"""What a format says about a file: plain records, before anyone decodes a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from quantwidget.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from quantwidget.storage import Region, Storage

Granularity = Literal["per_tensor", "per_axis", "per_block"]


@dataclass(frozen=True, kw_only=True, repr=False)
class QuantScheme:
    """How codes become values.

    ``values = (codes - zero_point) * scale + offset`` for ``kind="affine"``.

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
        Elements that share one scale, one number per dimension: equal to ``shape`` for one scale in all.
    scale_storage, zero_point_storage, offset_storage
        Where the parameters lie. Their shape is ``scale_shape(shape, block_shape)``. Without a zero point it is 0,
        without an offset there is none.
    scale_origin
        ``explicit`` (stored for this tensor), ``derived`` (computed from other stored scales), ``runtime`` (known only
        when the model runs), ``missing``, ``assumed``.
    status
        ``stored`` (the file holds codes), ``simulated`` (the file holds floats that are fake-quantized) or
        ``undecoded``.
    source
        The operator or class in the file that states the scheme, such as ``"DequantizeLinear"``.
    """

    kind: Literal["affine", "float", "codebook", "opaque"]
    code_dtype: str
    shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    scale_storage: Storage | None = None
    zero_point_storage: Storage | None = None
    offset_storage: Storage | None = None
    code_min: int | None = None
    code_max: int | None = None
    scale_origin: Literal["explicit", "derived", "runtime", "missing", "assumed"] = "explicit"
    status: Literal["stored", "simulated", "undecoded"] = "stored"
    source: str = ""
    codebook: npt.NDArray[np.float64] | None = None
    group_index: npt.NDArray[np.int64] | None = None
    scale_levels: tuple[npt.NDArray[np.float64], ...] = ()

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
    def scale_shape(self) -> tuple[int, ...]:
        """Shape of scale, zero point and offset: ``ceil(shape / block_shape)``."""
        return scale_shape(self.shape, self.block_shape)

    @property
    def granularity(self) -> Granularity:
        """``per_tensor``, ``per_axis`` (each index of one dimension has a scale) or ``per_block``."""
        if math.prod(self.scale_shape) <= 1:
            return "per_tensor"
        return "per_block" if self.axis is None else "per_axis"

    @property
    def axis(self) -> int | None:
        """The dimension kept when each of its indices has one scale, else None."""
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


def scale_shape(shape: tuple[int, ...], block_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a scale: ``ceil(shape / block_shape)`` in every dimension."""
    return tuple(-(-length // max(block, 1)) for length, block in zip(shape, block_shape, strict=True))


@dataclass(frozen=True, kw_only=True)
class TensorRecord:
    """One tensor as a format describes it.

    Attributes
    ----------
    name
        Unique within the model, as stored.
    layer
        Path of the layer it belongs to, split at ``.`` and ``/`` for display; may be empty.
    role
        ``"weight"``, ``"bias"`` or the storage's own word.
    shape
        Logical shape, as the framework shows it.
    dtype
        Type of the values, a key of `DTYPES`, or the file's own word when it is unknown.
    storage_dtype
        Type as the file names it (``"qint8"``, ``"FLOAT"``).
    storage_shape
        Shape as stored.
    nbytes
        Bytes in the file.
    storage
        Where the bytes lie; None when they cannot be reached, and then ``note`` says why.
    quant
        None for a tensor that holds plain values.
    alias_of
        Name of the tensor that holds the same bytes and is counted instead, or None.
    used_by_graph
        False when the graph never reads it; None when there is no graph.
    note
        A sentence about what could not be read or decoded; empty when all is well.
    """

    name: str
    layer: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    storage_dtype: str
    storage_shape: tuple[int, ...]
    nbytes: int
    storage: Storage | None = field(default=None, repr=False)
    quant: QuantScheme | None = None
    alias_of: str | None = None
    used_by_graph: bool | None = None
    note: str = ""

    def read_storage(self, region: Region) -> npt.NDArray[np.generic]:
        """Copy a region of the stored elements, undecoded; see `Storage.read`.

        Raises
        ------
        ValueError
            The bytes cannot be reached.
        """
        if self.storage is None:
            message = f"{self.name} has no bytes to read"
            raise ValueError(message)
        return self.storage.read(region)


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """What a format knows of a layer beyond its tensors; the rest is derived from them.

    Attributes
    ----------
    path
        The layer's path, as in `TensorRecord.layer`.
    op_type
        Operator or class, such as ``"Conv2d"``; empty when unknown.
    display_name
        A name for people; empty for the path itself.
    """

    path: str
    op_type: str = ""
    display_name: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One opened file, as its format describes it.

    Attributes
    ----------
    format
        ``"pytorch"``, ``"onnx"``, …
    tensors
        In the order of the file.
    layers
        What is known of layers, by path; a layer without an entry is derived from its tensors.
    producer
        Who wrote the file, as the file says it.
    metadata
        Further facts from the header.
    notes
        Sentences about the whole file for the person who opens it.
    """

    format: str
    tensors: tuple[TensorRecord, ...]
    layers: Mapping[str, LayerRecord] = field(default_factory=dict)
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
