"""The notebook widget: traits and messages, nothing else."""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anywidget
import traitlets

from quantwidget import __version__
from quantwidget.export import NO_SCRIPTS, fallback_html, page_html, static_file
from quantwidget.manifest import manifest_of
from quantwidget.opening import load_tensor_index
from quantwidget.packing import zipped
from quantwidget.quantizing import MAX_DIMENSIONS, checked, quantize
from quantwidget.session import Session
from quantwidget.table import columns_of, data_frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantwidget.cache import SketchCache
    from quantwidget.index import TensorIndex
    from quantwidget.quantizing import Division, Quantized
    from quantwidget.tensor import TensorRef

EAGER_SECONDS = 0.05
"""Work done while the widget is made, so that small models show at once and stay visible without a kernel."""

SKETCH_BUDGET = 1 << 20
"""Bytes of sketches that are kept in the notebook."""

PAGE_BYTES = 4_000_000
"""Size of the page that `QuantWidget.to_html` writes, where nothing else is asked for."""

BASE64_SHARE = 3 / 4
"""Bytes that a character of base64 stands for."""

DEFAULT_HEIGHT = 480
REVISION = 1


def _front_end(name: str) -> Path | str:
    """Return a built file for anywidget: its text, or its path where it is followed while it is built anew.

    anywidget keeps every widget that follows a path alive for ever.
    """
    path = static_file(name)
    return path if os.environ.get("ANYWIDGET_HMR") == "1" else path.read_text(encoding="utf-8")


def _owned_by_python(trait: traitlets.TraitType[Any, Any]) -> Any:  # noqa: ANN401 - traitlets types tags so
    return trait.tag(sync=True, echo_update=False)


class QuantWidget(anywidget.AnyWidget):
    """Layers of a model file, the distribution of each tensor, and what quantization did to it.

    Parameters
    ----------
    source
        A path to a model file, a `TensorIndex`, None, or a model in memory: a ``torch.nn.Module``, a state dict, an
        ``onnx.ModelProto``, a mapping of name to array, or an object whose layers hold arrays; see `open_model`. A file
        that cannot be read gives a widget that says why. A model in memory is read when the page asks: a widget that
        is made anew shows what training has changed.
    reference
        The float original to compare with, in any of these forms.
    match
        Names of the reference's tensors by name of a tensor, where the widget should not find them by itself; None for
        one without a counterpart.
    cache
        True, or a folder: distributions are kept on disk and found again as long as the file is the same.
    theme
        ``"auto"`` follows the notebook; or ``"light"``, ``"dark"``.
    height
        Height in CSS pixels.

    Attributes
    ----------
    selected : str or None
        Name of the selected tensor; synced with the page in both directions.
    range : tuple of float or None
        The range that was brushed on the histogram or set here, lower end first, in codes where codes are shown; synced
        in both directions. None for no choice: the page then shows mean ± deviation.
    channel : tuple of (int or None, int) or None
        The channel of the selected tensor that is looked at: its axis and its number along it, or None and the number
        of a block where blocks share a scale; synced in both directions. Setting it opens the channels.
    what_if : dict or None
        The quantizer that somebody thinks of on the page or here, the fields of `quantwidget.wire.WhatIf`; synced in
        both directions. None until somebody does.
    index : TensorIndex
        What the model holds.

    Raises
    ------
    TypeError
        ``source`` or ``reference`` is none of these: nothing in it holds numbers.
    """

    _esm = _front_end("widget.js")
    _css = _front_end("widget.css")
    _panels = static_file("kernel-panels.js").read_bytes()

    _manifest = _owned_by_python(traitlets.Bytes())
    _sketches = _owned_by_python(traitlets.Bytes())
    selected = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    theme = traitlets.Enum(("auto", "light", "dark"), "auto").tag(sync=True)
    height = traitlets.Int(DEFAULT_HEIGHT, min=120).tag(sync=True)
    range = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=None, allow_none=True).tag(sync=True)
    channel = traitlets.Tuple(
        traitlets.Int(allow_none=True, min=0), traitlets.Int(min=0), default_value=None, allow_none=True
    ).tag(sync=True)
    what_if = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    def __init__(  # noqa: PLR0913 -- each has a default
        self,
        source: object = None,
        *,
        reference: object = None,
        match: Mapping[str, str | None] | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        theme: str = "auto",
        height: int = DEFAULT_HEIGHT,
    ) -> None:
        self._index = load_tensor_index(source)
        self._reference = None if reference is None else load_tensor_index(reference)
        self._session = Session(
            self._index,
            version=__version__,
            revision=REVISION,
            kept=_kept(self._index, cache),
            reference=self._reference,
            match=match,
            panels=self._panels,
        )
        first = _first_weight(self._index)
        self._session.scan_for(EAGER_SECONDS, first=first)
        manifest = manifest_of(self._index, version=__version__, revision=REVISION, reference=self._reference)
        super().__init__(
            _manifest=zlib.compress(json.dumps(asdict(manifest)).encode()),
            _sketches=zipped(*self._session.pack(SKETCH_BUDGET, first=first)),
            selected=first,
            theme=theme,
            height=height,
        )
        self.on_msg(self._receive)

    @property
    def index(self) -> TensorIndex:
        """What the model holds."""
        return self._index

    @property
    def reference(self) -> TensorIndex | None:
        """What the model is compared with, or None."""
        return self._reference

    @property
    def tensor(self) -> TensorRef | None:
        """The selected tensor, or None."""
        return self._index.tensors.get(self.selected) if self.selected is not None else None

    def select(self, name: str) -> None:
        """Show a tensor on every page of this widget.

        Raises
        ------
        KeyError
            The model has no tensor of that name.
        """
        if name not in self._index.tensors:
            message = f"no tensor is called {name!r}"
            raise KeyError(message)
        self.selected = name

    def chart(self, bins: int = 50, **options: Any) -> Any:  # noqa: ANN401 - an altair.LayerChart
        """Draw the selected tensor with Altair; see `TensorRef.chart` for the options.

        Raises
        ------
        ValueError
            No tensor is selected.
        """
        if self.tensor is None:
            message = "no tensor is selected"
            raise ValueError(message)
        return self.tensor.chart(bins, **options)

    def quantized(self, *, division: Division = "onnx") -> Quantized:
        """Carry ``what_if`` out on the selected tensor: its codes, scale and zero point, exact; see docs/what-if.md.

        Parameters
        ----------
        division
            ``"onnx"`` divides by the scale, ``"torch"`` multiplies by its reciprocal, as fake quantization does.

        Raises
        ------
        ValueError
            Nothing is selected or thought of, or what is thought of does not fit the tensor.
        NotDecodedError
            The tensor is listed only.
        """
        if self.tensor is None or self.what_if is None:
            message = "select a tensor and set what_if, on the page or here"
            raise ValueError(message)
        return quantize(self.tensor, self.what_if, division=division)

    def table(self, backend: str | None = None) -> Any:  # noqa: ANN401 - of somebody else
        """Return a data frame with one row per tensor: what the file says of it, and figures of its distribution.

        Reads every tensor that has not been read yet.

        Parameters
        ----------
        backend
            ``"pandas"``, ``"polars"`` or ``"pyarrow"``; the first of these that is installed by default.

        Raises
        ------
        ImportError
            None of them is installed, or narwhals is not: ``pip install 'quantwidget[table]' pandas``.
        ValueError
            The backend is none of them.
        """
        self._session.scan_for(float("inf"))
        return data_frame(columns_of(self._index, self._session.sketches), backend)

    def to_html(
        self, path: str | os.PathLike[str], *, embed: Literal["overview", "sketches"] | int | None = None
    ) -> Path:
        """Write one HTML file that opens from disk, without a kernel and without a network.

        It holds the layers, the statistics, the sketches and the findings of the tensors; nothing of the tensors
        themselves. The page says what is in it.

        Parameters
        ----------
        embed
            ``"sketches"``: every distribution as it is shown here. ``"overview"``: every distribution in a few hundred
            cells, about a kilobyte each. A number of bytes that the file may take: as much as goes in; the selected
            tensor and weights with codes come first, and what does not go in as it is does so coarsely. By default
            4 MB.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        FileNotFoundError
            There is no such folder.
        ValueError
            ``embed`` is none of these, or so few bytes that the layers alone do not go in.
        """
        target = Path(path)
        if not target.parent.is_dir():
            message = f"there is no folder {target.parent}"
            raise FileNotFoundError(message)
        is_budget = isinstance(embed, int) and not isinstance(embed, bool)
        if not is_budget and embed not in ("overview", "sketches", None):
            message = f"embed is 'overview', 'sketches' or a number of bytes, not {embed!r:.80}"
            raise ValueError(message)
        self._session.scan_for(math.inf)
        self._session.look_at_all()
        self._sketches = self._packed_sketches()
        limit = math.inf if isinstance(embed, str) else PAGE_BYTES if embed is None else embed
        target.write_bytes(self._page(limit, is_strict=is_budget, in_full=embed != "overview"))
        return target

    def _page(self, limit: float, *, is_strict: bool, in_full: bool) -> bytes:
        """Make a page of at most ``limit`` bytes; where it is not strict, of more if the layers alone take more."""
        names = ("_manifest", "selected", "theme", "height", "range", "channel", "what_if")
        traits = {name: getattr(self, name) for name in names}
        title = Path(self._index.source).name or "model"
        fallback = fallback_html(self._index, self._session.sketches, hint=NO_SCRIPTS)

        def page(sketches: bytes) -> bytes:
            return page_html({**traits, "_sketches": sketches}, title=title, fallback=fallback).encode(errors="replace")

        room = limit - len(page(b""))
        if room < 0 and is_strict:
            message = f"a page of this model takes at least {len(page(b'')):,} bytes"
            raise ValueError(message)
        # What is packed is measured piece by piece, and a little larger or smaller as a whole.
        for part in (1.0, 0.9, 0.5, 0.0):
            made = page(self._packed_sketches(max(room, 0) * part * BASE64_SHARE, in_full=in_full))
            if len(made) <= limit:
                return made
        if is_strict:
            message = f"a page of this model takes at least {len(made):,} bytes"
            raise ValueError(message)
        return made

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401, FBT001, FBT002, ARG002 -- as ipywidgets has it
        """Return the synced traits by name, whatever they hold.

        ipywidgets would leave out of embedded pages what a trait holds by default: the module and the styles, without
        which nothing is shown.
        """
        state: dict[str, Any] = super().get_state(key=key)
        return state

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # noqa: ANN401 - as anywidget has it
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {
            **data,
            "text/html": fallback_html(self._index, self._session.sketches),
            "text/plain": repr(self),
        }, metadata

    def __repr__(self) -> str:
        """One line about the model."""
        return f"QuantWidget({self._index!r})"

    @traitlets.validate("range")
    def _ascending(self, proposal: traitlets.Bunch) -> tuple[float, float] | None:
        ends: tuple[float, float] | None = proposal["value"]
        if ends is not None and not -math.inf < ends[0] <= ends[1] < math.inf:
            message = f"a range ascends from one finite number to another, and {ends} does not"
            raise traitlets.TraitError(message)
        return ends

    @traitlets.validate("what_if")
    def _possible(self, proposal: traitlets.Bunch) -> dict[str, Any] | None:
        """Refuse what no tensor can be quantized by; whether the axis is one of the selected tensor is seen later."""
        thought: dict[str, Any] | None = proposal["value"]
        if thought is not None:
            try:
                checked(thought, (1,) * MAX_DIMENSIONS)
            except ValueError as error:
                raise traitlets.TraitError(str(error)) from error
        return thought

    @traitlets.validate("channel")
    def _there(self, proposal: traitlets.Bunch) -> tuple[int | None, int] | None:
        channel: tuple[int | None, int] | None = proposal["value"]
        if not self._has(channel):
            message = f"the selected tensor, {self.selected!r:.200}, has no such channel or block: {channel}"
            raise traitlets.TraitError(message)
        return channel

    @traitlets.observe("selected")
    def _forget_channel(self, _change: traitlets.Bunch) -> None:
        if not self._has(self.channel):
            self.set_trait("channel", None)

    def _has(self, channel: tuple[int | None, int] | None) -> bool:
        return channel is None or channel[1] < _channels_along(self.tensor).get(channel[0], 0)

    @traitlets.validate("selected")
    def _known(self, proposal: traitlets.Bunch) -> str | None:
        name: str | None = proposal["value"]
        if name is not None and name not in self._index.tensors:
            message = f"no tensor is called {name!r:.200}"
            raise traitlets.TraitError(message)
        return name

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        before = (self._session.is_complete, self._session.is_looked_at)
        reply, payload = self._session.answer(content)
        self.send(reply, [payload] if payload else None)
        if (self._session.is_complete, self._session.is_looked_at) > before:
            self._sketches = self._packed_sketches()

    def _packed_sketches(self, budget: float = SKETCH_BUDGET, *, in_full: bool = True) -> bytes:
        return zipped(*self._session.pack(budget, first=self.selected, in_full=in_full))


def _kept(index: TensorIndex, cache: bool | str | os.PathLike[str] | None) -> SketchCache | None:  # noqa: FBT001
    if cache is None or cache is False:
        return None
    from quantwidget.cache import SketchCache  # noqa: PLC0415 - SQLite is imported where a cache is wanted

    return SketchCache(index, None if cache is True else cache)


def _channels_along(tensor: TensorRef | None) -> dict[int | None, int]:
    """Return how many channels there are along each axis, and how many blocks under None."""
    if tensor is None:
        return {}
    lengths: dict[int | None, int] = dict(enumerate(tensor.shape))
    if tensor.quant is not None and tensor.quant.granularity == "per_block":
        lengths[None] = math.prod(tensor.quant.scale_shape)
    return lengths


def _first_weight(index: TensorIndex) -> str | None:
    names = [name for name, tensor in index.tensors.items() if tensor.is_readable and tensor.size]
    return next((name for name in names if index.tensors[name].role == "weight"), names[0] if names else None)
