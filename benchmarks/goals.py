"""What is compared, and the ratio to reach: one goal for each row of the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
Measure = Literal["ratio", "share", "figure"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison as it came out.

    Attributes
    ----------
    ratio
        What is held against ``goal``.
    ours, theirs
        Medians over ``n`` rounds, in ``unit``; ``theirs`` is 0 where there is nothing to compare with.
    """

    name: str
    ratio: float
    goal: float
    better: Better
    ours: float
    theirs: float
    unit: str
    n: int

    @property
    def is_met(self) -> bool:
        """True when the ratio reaches the goal."""
        return self.ratio >= self.goal if self.better == "higher" else self.ratio <= self.goal


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A comparison and the ratio to reach.

    Attributes
    ----------
    measure
        ``"ratio"``: how many times theirs takes what ours takes, or the other way round where lower is better.
        ``"share"``: theirs in percent of ours, where theirs is what cannot be beaten. ``"figure"``: ours alone.
    ours, theirs
        What is measured, for people.
    """

    name: str
    goal: float
    ours: str
    theirs: str
    better: Better = "higher"
    measure: Measure = "ratio"
    unit: str = "ms"

    @property
    def sign(self) -> str:
        """How the ratio relates to the goal when it is met."""
        return "≥" if self.better == "higher" else "≤"

    def row(self, ours: float, theirs: float, n: int) -> Row:
        """Return the row for two medians in the same unit; ``theirs`` is not looked at for a figure."""
        if self.measure == "figure":
            ratio, theirs = ours, 0.0
        elif self.measure == "share":
            ratio = ours = 100 * theirs / ours
            theirs = 100.0
        else:
            ratio = theirs / ours if self.better == "higher" else ours / theirs
        return Row(
            name=self.name,
            ratio=ratio,
            goal=self.goal,
            better=self.better,
            ours=ours,
            theirs=theirs,
            unit=self.unit,
            n=n,
        )


_OPENED = "`open_model`: every tensor listed"
_READ = "reading the same bytes on two threads with `np.bitwise_or.reduce`"
_IN_PLACE = "`np.histogram` in place, 256 bins over a known range"
_WRITTEN = "whole process: load all, flatten, cast to float64, `np.histogram`"

GOALS = (
    Goal(name="open_1gb_onnx", goal=200, ours=f"{_OPENED}, 1 GB of weights inline", theirs="`onnx.load`"),
    Goal(name="open_1gb_pt", goal=50, ours=_OPENED, theirs="`torch.load`"),
    Goal(name="open_1gb_safetensors", goal=50, ours=_OPENED, theirs="`safetensors.numpy.load_file`"),
    Goal(name="open_1gb_gguf", goal=20, ours=_OPENED, theirs="`gguf.GGUFReader`"),
    Goal(name="open_20k_tensors_pt", goal=1.5, ours=f"{_OPENED}, 20,000 small ones", theirs="`torch.load`"),
    Goal(
        name="open_gguf_vocab_152k",
        goal=100,
        ours=f"{_OPENED}, a vocabulary of 152,000 words",
        theirs="`gguf.GGUFReader`",
    ),
    Goal(
        name="open_memory_mb",
        goal=32,
        better="lower",
        measure="figure",
        unit="MB",
        ours="memory that opening 1 GB takes, the page cache not counted, in the worst of the four formats",
        theirs="",
    ),
    Goal(
        name="sketch_f32_engine",
        goal=50,
        measure="share",
        unit="%",
        ours="counts of 10⁸ float32, numba on two threads, steady state",
        theirs=_READ,
    ),
    Goal(
        name="sketch_bf16_engine",
        goal=25,
        measure="share",
        unit="%",
        ours="counts of 10⁸ bfloat16, numba on two threads, steady state",
        theirs=_READ,
    ),
    Goal(
        name="sketch_int8_engine",
        goal=15,
        measure="share",
        unit="%",
        ours="counts of 10⁸ int8 codes, numba on two threads, steady state",
        theirs=_READ,
    ),
    Goal(
        name="sketch_f32_engine_x",
        goal=15,
        ours="counts of 10⁸ float32, numba on two threads, steady state",
        theirs=_IN_PLACE,
    ),
    Goal(
        name="sketch_f32_numpy",
        goal=2.5,
        ours="counts of 10⁸ float32, NumPy on one thread",
        theirs=_IN_PLACE,
    ),
    Goal(
        name="all_tensors_1gb_numpy",
        goal=5,
        ours="whole process: open 1 GB of float32, `index.scan()` with NumPy",
        theirs=_WRITTEN,
    ),
    Goal(
        name="all_tensors_1gb_engine",
        goal=8,
        ours="whole process: open 1 GB of float32, `index.scan()` with numba, its start-up included",
        theirs=_WRITTEN,
    ),
    Goal(
        name="cold_1gb",
        goal=1.6,
        better="lower",
        ours="`index.scan()` of 1 GB that the page cache does not hold",
        theirs="reading the same file, in 4 MB pieces, as cold",
    ),
    Goal(
        name="tiny_tensors",
        goal=10,
        ours="statistics of 20,000 arrays of 256 float32, batched",
        theirs="naive NumPy, array by array",
    ),
    Goal(
        name="scan_memory_mb",
        goal=32,
        better="lower",
        measure="figure",
        unit="MB",
        ours="memory that scanning 1 GB takes, the page cache not counted",
        theirs="",
    ),
    Goal(
        name="channels_4096x14336",
        goal=5,
        ours="`TensorRef.channels(axis=0)` of 4096 × 14336 float32 with numba",
        theirs="naive NumPy per row: minimum, maximum, absolute maximum, mean, standard deviation",
    ),
    Goal(
        name="first_histogram_small",
        goal=5,
        better="lower",
        ours="ResNet-8's largest tensor, from the call to the finest sketch",
        theirs="`np.histogram` of its values, 256 bins",
    ),
    Goal(
        name="page_bytes_1e7",
        goal=1e-3,
        better="lower",
        unit="bytes",
        ours="what reaches the browser for 10⁷ float32",
        theirs="an Altair chart of the raw values",
    ),
    Goal(
        name="whatif_curve_1e7",
        goal=100,
        ours="SQNR of 200 clip ranges of 10⁷ float32, from the sketch",
        theirs="the same from the raw values, in pieces that fit the cache",
    ),
)
"""In the order in which they are measured and shown."""
