"""What a model holds: its layers and tensors, and the same facts as a plain mapping for notebooks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from quantwidget.scanning import Scan, begin_scan, run_scan
from quantwidget.tensor import TensorRef

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    import numpy.typing as npt

    from quantwidget.cache import SketchCache
    from quantwidget.lint import Finding
    from quantwidget.record import ModelRecord
    from quantwidget.sources import ModelFile


MAX_NOTES = 100
"""Sentences about a whole file that are kept."""


@dataclass(kw_only=True, slots=True)
class Layer:
    """A layer and the tensors that play a role in it.

    Attributes
    ----------
    path
        The layer's path; empty for tensors that belong to none.
    display_name
        A name for people.
    op_type
        Operator or class, such as ``"Conv2d"``; empty when the file does not say.
    roles
        Tensor name by role: ``"weight"``, ``"bias"`` or the storage's own word.
    """

    path: str
    display_name: str
    op_type: str
    roles: Mapping[str, str]


class TensorIndex(Mapping[str, Any]):
    """The layers and tensors of one model; nothing but headers has been read.

    As a mapping it has four keys:

    - ``"format"``: ``"onnx"``, ``"pytorch"``, … or ``"none"``;
    - ``"layers"``: ``{layer: {role: tensor name}}``;
    - ``"is_quantized"``: true when any tensor holds stored codes;
    - ``"tensor_data"``: ``{layer: {role: entry}}`` with an `Entry` each.

    Attributes
    ----------
    format, source, producer
        File format, where the model came from, and who wrote it.
    metadata
        Further facts from the file's header.
    notes
        Sentences about the whole file for the person who opened it.
    layers
        `Layer` by path.
    tensors
        `TensorRef` by name, in the order of the file.
    file
        The file that was opened; None for a folder, and for a model in memory.
    reopen
        Opens the same model once more, in another process too; None for a model in memory.
    scanned
        What the latest `scan` has found, also while it runs and when it was stopped; None before the first one.
    """

    def __init__(
        self,
        record: ModelRecord,
        source: str = "",
        *,
        file: ModelFile | None = None,
        reopen: Callable[[], TensorIndex] | None = None,
    ) -> None:
        self.format = record.format
        self.source = source
        self.file = file
        self.reopen = reopen
        self.scanned: Scan | None = None
        self.producer = record.producer
        self.metadata = dict(record.metadata)
        self.notes = _first(record.notes)
        self.tensors: dict[str, TensorRef] = {}
        roles: dict[str, dict[str, str]] = {}
        for tensor in record.tensors:
            in_layer = roles.setdefault(tensor.layer, {})
            role = tensor.role
            while role in in_layer:
                role = tensor.name if role == tensor.role != tensor.name else f"{role} (2)"
            in_layer[role] = tensor.name
            self.tensors[tensor.name] = TensorRef.of(tensor, role)
        self.layers = {
            path: Layer(path=path, display_name=path, op_type=record.op_types.get(path, ""), roles=in_layer)
            for path, in_layer in roles.items()
        }

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """One line: format, source, number of layers and tensors."""
        return (
            f"<TensorIndex {self.format} {self.source!r}: {len(self.layers)} layers, {len(self.tensors)} tensors, "
            f"{'quantized' if self.is_quantized else 'not quantized'}>"
        )

    @property
    def is_quantized(self) -> bool:
        """True when any tensor holds stored codes."""
        return any(tensor.is_quantized for tensor in self.tensors.values())

    def scan(
        self,
        names: Iterable[str] | None = None,
        *,
        executor: Executor | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        fine: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Scan:
        """Sketch many tensors, a tensor in each of its parts at once; see ``docs/scanning.md``.

        Each sketch equals `TensorRef.sketch` to the last bit, whoever makes it. One bad tensor never hides the good
        ones. A scan that is interrupted, by the user or by what ``on_progress`` raises, leaves what it has found in
        ``scanned``. The next scan of the same file goes on from there; that of a model in memory begins anew.

        Parameters
        ----------
        names
            Tensors to look at; an alias stands for the tensor that it is one of. By default all that are readable and
            no aliases.
        executor
            Any `concurrent.futures.Executor`: threads share this index, other workers open the file themselves. By
            default threads, as many as are worth having.
        cache
            True, or a folder: sketches are kept on disk and found again as long as the file is the same, see
            `SketchCache`.
        fine
            Whether a second pass counts more finely where the counts of the first one are not exact.
        on_progress
            Called with the bytes done and their total whenever some work is done.

        Returns
        -------
        Scan
            A mapping from tensor name to `Sketch`, and what has failed. It is partial, and there is a `UserWarning`,
            when the executor breaks down.

        Raises
        ------
        KeyError
            There is no tensor of a name.
        ValueError
            The model is in memory, and the executor is neither None nor a `ThreadPoolExecutor`.
        CorruptModelError, OSError
            The file has changed or cannot be reached, and workers were to open it.
        """
        before = self.scanned if self.reopen is not None else None
        self.scanned = scan = begin_scan(self.tensors, names, fine=fine, before=before)
        with self._kept(cache, fine=fine) as kept:
            run_scan(scan, self, executor=executor, kept=kept, on_progress=on_progress)
        if scan.stopped:
            warnings.warn(f"the scan is partial: {scan.stopped}", UserWarning, stacklevel=2)
        return scan

    def lint(
        self,
        names: Iterable[str] | None = None,
        *,
        executor: Executor | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Finding]:
        """Say in plain sentences what is wrong or wasteful, the worst first; see ``docs/lint.md``.

        Scans first, and goes on from an earlier scan of a file; weights are read again for their channels.

        Parameters
        ----------
        names, executor, cache, on_progress
            As in `scan`; rules about the whole model look at the headers of all tensors.

        Returns
        -------
        list of Finding
            Rule, severity, tensor (empty for the whole model), sentence and numbers.

        Raises
        ------
        KeyError, ValueError, CorruptModelError, OSError
            As `scan` does. A tensor that cannot be read is a finding, not an error.
        """
        from quantwidget.lint import lint  # noqa: PLC0415 - rules are imported where they are wanted

        return lint(self, self.scan(names, executor=executor, cache=cache, on_progress=on_progress))

    @contextmanager
    def _kept(self, cache: bool | str | os.PathLike[str] | None, *, fine: bool) -> Iterator[SketchCache | None]:  # noqa: FBT001
        if cache is None or cache is False:
            yield None
            return
        from quantwidget.cache import SketchCache  # noqa: PLC0415 - SQLite is imported where a cache is wanted

        with closing(SketchCache(self, None if cache is True else cache, fine=fine)) as kept:
            yield kept

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - each key has a type of its own
        """Give one of the four keys."""
        if key == "format":
            return self.format
        if key == "is_quantized":
            return self.is_quantized
        if key == "layers":
            return {path: dict(layer.roles) for path, layer in self.layers.items()}
        if key == "tensor_data":
            return {
                path: {role: Entry(self.tensors[name]) for role, name in layer.roles.items()}
                for path, layer in self.layers.items()
            }
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the four keys."""
        return iter(("format", "layers", "is_quantized", "tensor_data"))

    def __len__(self) -> int:
        """Count the keys."""
        return 4


class Entry(Mapping[str, Any]):
    """One tensor as a lazy mapping: asking for a key reads what that key needs, listing the keys reads nothing.

    - ``values``: flat float64 (complex128 for complex numbers); ``shape``; ``is_quantized``;
    - for quantized tensors also ``int_values`` (codes, flat float64), ``scale_values`` and ``zero_point_values`` (flat
      float64, one per channel or block), and ``scale`` and ``zero_point`` (floats) when there is exactly one.

    A tensor that is listed only has just ``shape``, ``is_quantized`` and ``note``.
    """

    def __init__(self, tensor: TensorRef) -> None:
        self._tensor = tensor

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """Name the tensor and its keys."""
        return f"<Entry {self._tensor.name!r}: {', '.join(self)}>"

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys that this tensor has."""
        if not self._tensor.is_readable:
            return iter(("shape", "is_quantized", "note"))
        keys = ["values", "shape", "is_quantized"]
        quant = self._tensor.quant
        if self._tensor.is_quantized and quant is not None:
            keys += ["int_values", "scale_values", "zero_point_values"]
            if math.prod(quant.scale_shape) == 1:
                keys += ["scale", "zero_point"]
        return iter(keys)

    def __len__(self) -> int:
        """Count the keys."""
        return sum(1 for _ in self)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - each key has a type of its own
        """Read what one key needs."""
        if key not in tuple(self):
            raise KeyError(key)
        if key in {"shape", "is_quantized", "note"}:
            return getattr(self._tensor, key)
        if key == "values":
            return _flat(self._tensor.values())
        if key == "int_values":
            return _flat(self._tensor.codes())
        parameters = self._scales() if key.startswith("scale") else self._zero_points()
        return parameters if key.endswith("_values") else float(parameters[0])

    def _scales(self) -> npt.NDArray[np.float64]:
        quant = self._tensor.quant
        return _flat(quant.scale) if quant is not None and quant.scale is not None else np.zeros(0)

    def _zero_points(self) -> npt.NDArray[np.float64]:
        quant = self._tensor.quant
        if quant is not None and quant.zero_point is not None:
            return _flat(quant.zero_point)
        return np.zeros_like(self._scales())


def _first(notes: tuple[str, ...]) -> tuple[str, ...]:
    left_out = len(notes) - MAX_NOTES
    return notes if left_out <= 0 else (*notes[:MAX_NOTES], f"{left_out} more notes are left out")


def _flat(array: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore"):
        return cast("npt.NDArray[np.float64]", array.astype(wide).reshape(-1))
