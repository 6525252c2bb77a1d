"""Weights of torchao: a tensor subclass that wraps plain tensors, told by its class and the names of its fields.

Fields and formulas are those of torchao 0.18 (``torchao/quantization/quantize_/workflows`` and
``torchao/prototype/mx_formats``), and of the ``AffineQuantizedTensor`` that versions up to 0.15 wrote
(``torchao/dtypes/affine_quantized_tensor.py``). Layouts that a kernel has shuffled its codes into are not decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np

from quantwidget.dtypes import DTYPES
from quantwidget.formats.pytorch.inert import Call, Name, arguments
from quantwidget.formats.pytorch.views import sizes
from quantwidget.layouts import Computed, PackedWords, Permuted, constant, tiled
from quantwidget.quant import QuantScheme, scale_shape
from quantwidget.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from quantwidget.storage import Elements, Region

MAX_FIELDS = 32
"""Fields of one wrapper; torchao writes at most 15."""

WRAPPED = ("original_weight_tensor", "tensor_impl", "layout_tensor")
"""Fields that hold a wrapper in turn: torchao up to 0.15 put codes two or three wrappers deep."""

_PLAIN_CODES = {
    "Int8Tensor",
    "IntxUnpackedTensor",
    "IntxUnpackedToInt8Tensor",
    "PlainAQTLayout",
    "PlainAQTTensorImpl",
}
_PLAIN_FLOATS = {"Float8AQTTensorImpl", "Float8Tensor"}
_MICROSCALED = {"MXTensor", "NVFP4Tensor"}
_HALVES = "Int4Tensor"
_NARROW = {
    "float4_e2m1fn_x2": "float4_e2m1fn",
    "fp4_e2m1": "float4_e2m1fn",
    "fp6_e2m3": "float6_e2m3fn",
    "fp6_e3m2": "float6_e3m2fn",
}
_FLOAT_DOMAIN, _NO_DOMAIN = 2, 3


@dataclass(frozen=True)
class Wrapper:
    """What a wrapper, and the wrappers in it, hold.

    Attributes
    ----------
    name
        Class of the innermost wrapper.
    shape
        Shape that the outermost one shows.
    parts
        The plain tensors among the fields.
    facts
        All fields.
    """

    name: str
    shape: tuple[int, ...]
    parts: Mapping[str, Elements]
    facts: Mapping[str, object]

    def decoded(self) -> tuple[Elements, QuantScheme]:
        """Find the codes, in the shape shown, and how they become values.

        Raises
        ------
        ValueError, TypeError, LookupError
            The class keeps its codes in an order that is not known, or the fields do not fit together.
        """
        if self.facts.get("transposed"):
            message = "its codes lie in the order that a kernel wants"
            raise ValueError(message)
        if self.name in _PLAIN_CODES:
            return self._affine()
        if self.name in _PLAIN_FLOATS:
            codes = self.parts["qdata"] if "qdata" in self.parts else self.parts["float8_data"]
            return codes, self._scheme(codes, self.parts["scale"], self._block_shape(self.parts["scale"]))
        if self.name in _MICROSCALED:
            return self._microscaled()
        if self.name == _HALVES:
            return self._halves()
        message = f"the order of codes in {self.name} is not known"
        raise ValueError(message)

    def _affine(self) -> tuple[Elements, QuantScheme]:
        codes = self.parts["qdata"] if "qdata" in self.parts else self.parts["int_data"]
        scheme = self._scheme(codes, self.parts["scale"], self._block_shape(self.parts["scale"]))
        code_min, code_max = self._code_range(codes)
        zero_point, offset = self.parts.get("zero_point"), None
        domain = _domain(self.facts.get("zero_point_domain"))
        if domain == _FLOAT_DOMAIN and zero_point is not None:
            # The zero point is the value of the middle code here.
            middle = (code_min + code_max + 1) // 2
            zero_point, offset = constant(middle, "int32", scheme.scale_shape), zero_point
        target = self.facts.get("target_dtype")
        return codes, replace(
            scheme,
            zero_point_storage=None if domain == _NO_DOMAIN else _fitted(zero_point, scheme.scale_shape),
            offset_storage=_fitted(offset, scheme.scale_shape),
            code_min=code_min,
            code_max=code_max,
            source=f"{self.name} of {target.name}" if isinstance(target, Name) else self.name,
        )

    def _microscaled(self) -> tuple[Elements, QuantScheme]:
        element = self.facts.get("elem_dtype", "fp4_e2m1")
        word = element.name if isinstance(element, Name) else element
        if not isinstance(word, str):
            message = "its element type is not stated"
            raise TypeError(message)
        codes = _narrow(self.parts["qdata"], _NARROW.get(word, word), self.shape)
        block = self.facts["block_size"]
        if type(block) is not int or block <= 0 or self.shape[-1] % block:
            message = f"its blocks do not fit shape {list(self.shape)}"
            raise ValueError(message)
        block_shape = (*(1 for _ in self.shape[:-1]), block)
        scales = self.parts["scale"]
        if self.facts.get("is_swizzled_scales"):
            scales = tiled(scales, scale_shape(self.shape, block_shape))
        scheme = self._scheme(codes, scales, block_shape)
        whole, scale = self.parts.get("per_tensor_scale"), scheme.scale_storage
        if whole is None or scale is None:
            return codes, scheme
        if whole.size != 1:
            message = f"its scale of the whole tensor has {whole.size} elements"
            raise ValueError(message)
        levels = (("block scale", scale), ("per_tensor_scale", whole))
        return codes, replace(scheme, scale_storage=_product(scale, whole), scale_levels=levels)

    def _halves(self) -> tuple[Elements, QuantScheme]:
        """Read codes two to a byte, the low half first; what stands as the zero point is the value of code 0."""
        codes = PackedWords(self.parts["qdata"], DTYPES["int4"], self.shape)
        order = (*range(len(self.shape) - 2), len(self.shape) - 1, len(self.shape) - 2)
        scale, offset = (Permuted(self.parts[name], order) for name in ("scale", "zero_point"))
        scheme = self._scheme(codes, scale, self._block_shape(scale))
        return codes, replace(scheme, offset_storage=_fitted(offset, scheme.scale_shape))

    def _scheme(self, codes: Elements, scale: Elements, block_shape: tuple[int, ...]) -> QuantScheme:
        if codes.shape != self.shape or not (codes.dtype.is_integer or codes.dtype.kind == "float"):
            message = f"{list(codes.shape)} of {codes.dtype.name} are no codes for shape {list(self.shape)}"
            raise ValueError(message)
        if scale.dtype.kind != "float":
            message = f"its scale is {scale.dtype.name}"
            raise ValueError(message)
        code_min, code_max = codes.dtype.code_range if codes.dtype.is_integer else (None, None)
        return QuantScheme(
            kind="affine" if codes.dtype.is_integer else "float",
            code_dtype=codes.dtype.name,
            shape=self.shape,
            block_shape=block_shape,
            scale_storage=_fitted(scale, scale_shape(self.shape, block_shape)),
            code_min=code_min,
            code_max=code_max,
            source=self.name,
        )

    def _block_shape(self, scale: Elements) -> tuple[int, ...]:
        """Take the stated block, cut to the tensor; without one, the scale's own shape tells it."""
        if "block_size" in self.facts:
            stated = sizes(self.facts["block_size"])
        elif scale.size == 1:
            stated = self.shape
        else:
            pairs = zip(self.shape, scale.shape, strict=True)
            stated = tuple(-(-length // max(count, 1)) for length, count in pairs)
        if len(stated) != len(self.shape) or min(stated, default=1) < 1:
            message = f"blocks of {list(stated)} do not fit shape {list(self.shape)}"
            raise ValueError(message)
        return tuple(min(block, max(length, 1)) for block, length in zip(stated, self.shape, strict=True))

    def _code_range(self, codes: Elements) -> tuple[int, int]:
        target = self.facts.get("target_dtype")
        smallest, largest = codes.dtype.code_range
        if isinstance(target, Name) and DTYPES.get(target.name, codes.dtype).is_integer:
            smallest, largest = DTYPES.get(target.name, codes.dtype).code_range
        stated = self.facts.get("quant_min"), self.facts.get("quant_max")
        if type(stated[0]) is int and type(stated[1]) is int:
            smallest, largest = max(stated[0], smallest), min(stated[1], largest)
        return smallest, largest


def _narrow(codes: Elements, dtype: str, shape: tuple[int, ...]) -> Elements:
    """Read floats of 4 bits two to a byte, the low half first, and floats of 6 bits one to a byte."""
    element = DTYPES[dtype]
    if codes.dtype.name == dtype:
        return codes
    if not element.is_packed or codes.dtype.name not in {"uint8", "int8"}:
        message = f"{codes.dtype.name} holds no {dtype}"
        raise ValueError(message)
    if element.bits == 4:  # noqa: PLR2004 - two of them fill a byte
        return PackedWords(codes, element, shape)

    def fields(region: Region) -> npt.NDArray[np.generic]:
        return element.from_fields(codes.read(region).view(np.uint8) & np.uint8((1 << element.bits) - 1))

    return Computed(element, codes.shape, fields, codes.nbytes)


def _product(scale: Elements, whole: Elements) -> Elements:
    def product(region: Region) -> npt.NDArray[np.generic]:
        with np.errstate(over="ignore", invalid="ignore"):
            return scale.read(region).astype(np.float32) * whole.read().astype(np.float32)

    return Computed(DTYPES["float32"], scale.shape, product, scale.nbytes + whole.nbytes)


@overload
def _fitted(parameter: Elements, shape: tuple[int, ...]) -> Elements: ...


@overload
def _fitted(parameter: None, shape: tuple[int, ...]) -> None: ...


def _fitted(parameter: Elements | None, shape: tuple[int, ...]) -> Elements | None:
    """Show a parameter under the shape that a scheme asks for: torchao leaves dimensions of length 1 out at times."""
    if parameter is None or parameter.shape == shape:
        return parameter
    if isinstance(parameter, Storage) and [n for n in parameter.shape if n != 1] == [n for n in shape if n != 1]:
        return parameter.reshape(shape)
    message = f"a scale or zero point of shape {list(parameter.shape)} does not fit {list(shape)} blocks"
    raise ValueError(message)


def _domain(node: object) -> int:
    """Return the number of a member of ``ZeroPointDomain``: 1 for integers, 2 for floats, 3 for none; 0 when unsaid."""
    (number,) = arguments(node)[:1] if isinstance(node, Call) and arguments(node) else (0,)
    return number if type(number) is int else 0
