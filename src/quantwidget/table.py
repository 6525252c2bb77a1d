"""A model as a table: one row per tensor."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from quantwidget.figures import Figures, figures_of
from quantwidget.manifest import bits_per_weight, scheme_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.index import TensorIndex
    from quantwidget.sketches import Sketch

BACKENDS = ("pandas", "polars", "pyarrow")
"""What makes data frames, the first that is installed by default."""


def columns_of(index: TensorIndex, sketches: Mapping[str, Sketch]) -> dict[str, list[Any]]:
    """Return the table column by column, tensors in the order of the file.

    Parameters
    ----------
    sketches
        By name of the tensor, an alias's by that of the tensor that it is one of. Figures of a tensor without one are
        None.
    """
    rows = []
    for tensor in index.tensors.values():
        sketch = sketches.get(tensor.name) or sketches.get(tensor.alias_of or "")
        rows.append(
            {
                "name": tensor.name,
                "layer": tensor.layer,
                "role": tensor.role,
                "scheme": "" if tensor.quant is None else scheme_entry(tensor, tensor.quant).label,
                "dtype": tensor.dtype,
                "storage_dtype": tensor.storage_dtype,
                "shape": list(tensor.shape),
                "parameters": tensor.size,
                "nbytes": tensor.nbytes,
                "bits_per_weight": bits_per_weight(tensor),
                **asdict(Figures() if sketch is None else figures_of(tensor, sketch)),
            }
        )
    names = rows[0] if rows else {}
    return {name: [row[name] for row in rows] for name in names}


def data_frame(columns: dict[str, list[Any]], backend: str | None = None) -> Any:  # noqa: ANN401 - of somebody else
    """Make a data frame of one of the `BACKENDS`.

    Raises
    ------
    ImportError
        Neither the backend nor, without a wish, any of them is installed; or narwhals is not.
    ValueError
        The backend is none of them.
    """
    if backend is not None and backend not in BACKENDS:
        message = f"a table is made by {', '.join(BACKENDS)}, not by {backend!r:.40}"
        raise ValueError(message)
    wanted = [backend] if backend is not None else BACKENDS
    found = next((name for name in wanted if find_spec(name) is not None), None)
    if found is None or find_spec("narwhals") is None:
        missing = " or ".join(wanted) if found is None else "narwhals"
        message = f"a table needs {missing}: pip install 'quantwidget[table]' {found or wanted[0]}"
        raise ImportError(message)
    import narwhals as nw  # noqa: PLC0415 - where a table is wanted

    return nw.from_dict(columns, backend=cast("Any", found)).to_native()
