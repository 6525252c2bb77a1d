"""Files that torch writes, and torch's own view of them to hold ours against."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch

from quantwidget.formats.pytorch import open_file

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantwidget.record import ModelRecord, TensorRecord

CORPUS = Path(os.environ.get("QUANTWIDGET_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))

# torch announces the end of its quantized types and of TorchScript in each call; the files stay.
QUIET = (
    "ignore:.*torch.ao.quantization:DeprecationWarning",
    "ignore:.*torch.jit:DeprecationWarning",
    "ignore:.*Lite Interpreter:DeprecationWarning",
    "ignore:.*TypedStorage:UserWarning",
    "ignore:Couldn't retrieve source code:UserWarning",
    "ignore::torch.jit.TracerWarning",
    "ignore:.*Sparse CSR:UserWarning",
    "ignore:.*nested tensors:UserWarning",
    "ignore:.*ComplexHalf:UserWarning",
    "ignore:.*reduce_range:UserWarning",
    "ignore:.*quantized tensor:UserWarning",
    "ignore:.*qint:UserWarning",
)


def fresh(tmp_path: Path, ending: str) -> Path:
    """Name a new file: an open model looks at its file until it is forgotten."""
    return tmp_path / f"model_{len(list(tmp_path.iterdir()))}.{ending}"


def saved(tmp_path: Path, content: Any, **options: Any) -> ModelRecord:
    """Save with torch and open with quantwidget."""
    path = fresh(tmp_path, "pt")
    torch.save(content, path, **options)
    return open_file(path)


def scripted(tmp_path: Path, module: torch.jit.ScriptModule) -> ModelRecord:
    """Save a TorchScript module and open it with quantwidget."""
    path = fresh(tmp_path, "jit")
    torch.jit.save(module, path)
    return open_file(path)


def by_name(record: ModelRecord) -> dict[str, TensorRecord]:
    """Tensors by name."""
    assert len({tensor.name for tensor in record.tensors}) == len(record.tensors)
    return {tensor.name: tensor for tensor in record.tensors}


def elements(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Elements as torch shows them, also of types that NumPy lacks."""
    tensor = tensor.detach().cpu().contiguous()
    word = str(tensor.dtype).removeprefix("torch.")
    if hasattr(ml_dtypes, word):
        width = {1: torch.uint8, 2: torch.int16}[tensor.itemsize]
        return tensor.view(width).numpy().view(getattr(ml_dtypes, word))
    return tensor.numpy()


def dequantized(tensor: TensorRecord) -> npt.NDArray[np.float32]:
    """Values by the formula of the record: (codes − zero point) · scale in float64, then float32.

    torch takes the scale as float32, so the two agree for the scales that its observers find, which are float32.
    """
    scheme = tensor.quant
    assert scheme is not None
    codes = tensor.storage.read().astype(np.float64)
    if scheme.zero_point.dtype == np.float32:  # torch rounds the difference as well
        return (codes.astype(np.float32) - scheme.zero_point) * scheme.scale
    return ((codes - scheme.zero_point) * scheme.scale.astype(np.float64)).astype(np.float32)


def assert_same(tensor: TensorRecord, expected: torch.Tensor) -> None:
    """Hold a record against the tensor that torch loads, bit for bit."""
    assert tensor.note == ""
    assert tensor.shape == tuple(expected.shape)
    if not expected.is_quantized:
        assert tensor.quant is None
        read, wanted = tensor.storage.read(), elements(expected)
        assert read.dtype == wanted.dtype
        assert read.tobytes() == wanted.tobytes()
        return
    scheme = tensor.quant
    assert tensor.dtype == "float32"
    assert scheme.kind == "affine"
    assert scheme.status == "stored"
    assert np.array_equal(tensor.storage.read(), expected.int_repr().numpy())
    if expected.qscheme() == torch.per_tensor_affine:
        assert scheme.granularity == "per_tensor"
        assert scheme.scale.item() == expected.q_scale()
        assert scheme.zero_point.item() == expected.q_zero_point()
    else:
        axis = expected.q_per_channel_axis()
        assert scheme.block_shape == tuple(1 if place == axis else size for place, size in enumerate(expected.shape))
        assert np.array_equal(scheme.scale.ravel(), expected.q_per_channel_scales().numpy())
        assert np.array_equal(scheme.zero_point.ravel(), expected.q_per_channel_zero_points().numpy())
    assert np.array_equal(dequantized(tensor), expected.dequantize().numpy())
