"""Sparse tensors of torch in memory, shown dense as those of a file are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from quantwidget.formats.pytorch.sparse import dense
from quantwidget.live.found import Found, listed
from quantwidget.live.torch_tensors import is_tensor, record_of, tensor_elements, word_of

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk

FORMAT = "state dict"

_PARTS = {
    "torch.sparse_coo": ("_indices", "_values"),
    "torch.sparse_csr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_bsr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_csc": ("ccol_indices", "row_indices", "values"),
    "torch.sparse_bsc": ("ccol_indices", "row_indices", "values"),
}


def matches(value: Any) -> bool:  # noqa: ANN401 - whatever a model holds
    """Tell whether a value is a sparse tensor that has elements."""
    return is_tensor(value) and str(value.layout) in _PARTS and not value.is_meta


def visit(path: str, get: Get, walk: Walk) -> None:
    """List the tensor with all its zeros."""
    walk.model.add(_described(path or "tensor", get))


def _described(name: str, get: Get) -> Found:
    tensor = get()
    layout, shape, word = str(tensor.layout), tuple(tensor.shape), word_of(tensor)
    parts = [tensor_elements(partial(_part, get, key)) for key in _PARTS[layout]]
    nbytes = sum(part.nbytes for part in parts if part is not None)
    try:
        elements = dense(layout, [part for part in parts if part is not None], shape)
    except ValueError as error:
        note = f"a tensor of layout {layout.removeprefix('torch.')} is not decoded: {error}"
        return listed(name, shape=shape, dtype=word, note=note, nbytes=nbytes)
    return Found(replace(record_of(name, elements, word, f"{layout} {word}"), nbytes=nbytes), id(tensor))


def _part(get: Get, key: str) -> Any:  # noqa: ANN401 - torch.Tensor
    return getattr(get(), key)().detach()
