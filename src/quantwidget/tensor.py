"""One tensor of a model that can be read: its values, its codes, its distribution."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from quantwidget.channels import percentiles_of
from quantwidget.dtypes import DTYPES
from quantwidget.errors import NotDecodedError
from quantwidget.explaining import explain
from quantwidget.record import TensorRecord
from quantwidget.schemes import decoding_scheme, scheme_of
from quantwidget.sketches import Histogram, Sketch, histogram_of, linear_edges
from quantwidget.sketches.channel_blocks import Partition
from quantwidget.sketches.channel_engine import channel_kernels_for
from quantwidget.sketches.channels import ChannelSummary
from quantwidget.sketches.kernels import counting_threads, turn
from quantwidget.threads import in_order, thread_count
from quantwidget.wire import AffineMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

    from quantwidget.explaining import Explanation
    from quantwidget.schemes import Scheme
    from quantwidget.sketches.channels import ChannelPart, ChannelStatistics
    from quantwidget.storage import Region
    from quantwidget.wire import Space, Statistics


PIECE = 1 << 19
"""Elements that are decoded at a time."""

GROUP = 16
"""Pieces that are summarised one after the other. Groups are merged in their order, so that a summary is the same
to the last bit however they are spread over threads, processes and machines."""

CHANNEL_GROUP = 4
"""Pieces whose channels are looked at one after the other; fewer than of counts, since each costs more."""

MOST_BARS = 256
"""Codes that get a bar each."""

PARALLEL_ELEMENTS = 1 << 22
"""Smaller tensors are summarised on the caller's thread."""


ValuesOf = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.generic]]
"""From codes to their values, both of shape ``[n]``."""


class Summary(Protocol):
    """What one pass over a tensor fills."""

    @property
    def takes_values(self) -> bool:
        """False where the codes are enough; then values are None in `update`."""
        ...

    def update(self, values: npt.NDArray[np.generic] | None, codes: npt.NDArray[np.generic] | None = None) -> None:
        """Take in the values of some elements, and the codes of the same elements."""
        ...

    def take_values_of(self, values_of: ValuesOf) -> None:
        """Take in the values of all codes, after the last of them; called for each tensor with one map from codes."""
        ...

    def merge(self, other: Self) -> None:
        """Take in all that another one has seen."""
        ...


AnySummary = TypeVar("AnySummary", bound=Summary)


class Piece(NamedTuple):
    """The values and codes of a region, of its shape; ``codes`` is None for plain values."""

    region: Region
    values: npt.NDArray[np.generic]
    codes: npt.NDArray[np.generic] | None


class Chunk(NamedTuple):
    """A flat piece of a tensor; ``codes`` is None for plain values."""

    values: npt.NDArray[np.generic]
    codes: npt.NDArray[np.generic] | None


@dataclass(kw_only=True, repr=False, eq=False)
class TensorRef(TensorRecord):
    """One tensor, lazy: its bytes are read when one of the methods asks for them.

    The fields are those of `TensorRecord`. Every method that reads raises `NotDecodedError` when the tensor is listed
    only, and `CorruptModelError` when the file has changed since it was opened.
    """

    def __repr__(self) -> str:
        """One line: name, shape and scheme or type."""
        scheme = self.storage_dtype if self.quant is None else f"{self.quant.code_dtype} {self.quant.granularity}"
        return f"<TensorRef {self.name!r}: {' × '.join(map(str, self.shape)) or 'scalar'}, {scheme}>"

    @classmethod
    def of(cls, record: TensorRecord, role: str) -> TensorRef:
        """Make a record readable, under a role that is unique in its layer."""
        made = object.__new__(cls)  # the record's own fields: going through `__init__` would double the time
        fields = vars(made)
        fields.update(vars(record))
        fields["role"] = role
        return made

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_quantized(self) -> bool:
        """True when the file holds codes for this tensor, decoded or not."""
        return self.quant is not None and self.quant.status != "simulated"

    @property
    def is_readable(self) -> bool:
        """True when values can be given."""
        return scheme_of(self) is not None

    def values(self) -> npt.NDArray[np.generic]:
        """All values, decoded.

        Returns
        -------
        numpy.ndarray
            Shape ``shape``. float32 for a quantized tensor, equal to what torch and ONNX Runtime compute; otherwise the
            stored type, with float32 for the float types that NumPy lacks.
        """
        self._scheme()
        result = np.empty(self.shape, self._values_dtype())
        for region, values, _ in self.pieces(PIECE):
            result[region] = values
        return result

    def codes(self) -> npt.NDArray[np.generic]:
        """All codes: integers as stored, unpacked, before the zero point.

        Returns
        -------
        numpy.ndarray
            Shape ``shape``, in the NumPy type of ``quant.code_dtype``; float32 for codes that are narrow floats.

        Raises
        ------
        NotDecodedError
            The tensor holds plain values, or its codes cannot be unpacked.
        """
        scheme = self._scheme()
        everything = tuple(slice(0, length) for length in self.shape)
        codes = scheme.codes(self, everything)
        if codes is None:
            message = f"{self.name} holds plain values, not codes"
            raise NotDecodedError(message)
        return codes if codes.flags.writeable else codes.copy()

    def chunks(self, elements: int = PIECE) -> Iterator[Chunk]:
        """Decode the tensor, at most ``elements`` at a time, in the order of the file; memory does not grow with it.

        Chunks of a model in memory may be read-only views of it.
        """
        return self._chunks(elements, 0, None)

    @property
    def group_count(self) -> int:
        """Number of groups of `GROUP` pieces that the tensor is summarised in."""
        return -(-self.piece_count // GROUP)

    @property
    def piece_count(self) -> int:
        """Number of pieces of at most `PIECE` elements that the tensor is decoded in."""
        self._scheme()
        return sum(1 for _ in self.regions(PIECE))

    def group(self, number: int, into: AnySummary) -> AnySummary:
        """Take one group of pieces, of number 0 to `group_count` - 1, into a summary that holds nothing yet."""
        scheme, takes_values = self._scheme(), into.takes_values
        for region in self.regions(PIECE, number * GROUP, (number + 1) * GROUP):
            codes = scheme.codes(self, region)
            values = scheme.values(self, region, codes) if takes_values else None
            with turn():
                into.update(values, codes)
        if not takes_values:
            into.take_values_of(self._values_of)
        return into

    def summarise(self, empty: Callable[[], AnySummary], threads: int | None = None) -> AnySummary:
        """Take the whole tensor into a summary, group by group, a large one on several threads.

        Parameters
        ----------
        empty
            Makes a summary of nothing.
        threads
            As many as there are processors by default, while numba counts; one while NumPy does, see `turn`.
        """
        threads = self._threads() if threads is None else threads
        groups = (partial(self._group_into, number, empty) for number in range(self.group_count))
        summary = empty()
        for part in in_order(groups, threads):
            summary.merge(part)
        return summary

    def empty_sketch(self) -> Sketch:
        """Return a sketch of no elements that is set up for this tensor's chunks.

        Integer codes get a count each. A tensor with one scale has the distribution of its values in that of its codes,
        so only its codes are counted.
        """
        codes = DTYPES[self.quant.code_dtype] if self.is_quantized and self.quant is not None else None
        self._check_ordered()
        return Sketch(
            value_dtype=DTYPES[self.dtype if codes is None else "float32"],
            size=self.size,
            code_dtype=codes,
            values_follow_codes=codes is not None and self.affine_map() is not None,
        )

    def affine_map(self) -> AffineMap | None:
        """Return the one map that turns every code of the tensor into its value, or None where there is none.

        Reads the scale, zero point and offset of a tensor that has one of each.
        """
        quant = self.quant
        if quant is None or quant.kind != "affine" or math.prod(quant.scale_shape) != 1:
            return None
        if quant.scale is None:
            return None
        with np.errstate(over="ignore"):
            scale = float(quant.scale.reshape(-1)[0].astype(np.float32))
        zero_point, offset = (
            0.0 if parameter is None else float(parameter.reshape(-1)[0])
            for parameter in (quant.zero_point, quant.offset)
        )
        if not all(math.isfinite(number) for number in (scale, zero_point, offset)):
            return None
        return AffineMap(scale=scale, zero_point=zero_point, offset=offset)

    def sketch(self, *, fine: bool = True) -> Sketch:
        """Summarise the whole tensor: exact statistics and counts per cell, see `Sketch`.

        Parameters
        ----------
        fine
            Where the counts are not exact, a second pass counts along the range that the first one found.
        """
        sketch = self.summarise(self.empty_sketch)
        if fine and (finer := sketch.empty_finer()) is not None:
            sketch.refine(self.summarise(finer.empty))
        return sketch

    def stats(self) -> Statistics:
        """Exact statistics of the values: count, zeros, NaN, infinities, minimum, maximum, mean and std."""
        return self.sketch(fine=False).statistics

    def histogram(self, bins: int = 50, range: tuple[float, float] | None = None) -> Histogram:  # noqa: A002 - as NumPy
        """Count the values in equal bins, exactly as ``np.histogram`` of the finite values does.

        Parameters
        ----------
        bins
            Number of bins.
        range
            Lower and upper edge; smallest and largest finite value by default.

        Raises
        ------
        ValueError
            ``bins`` is no positive whole number, or ``range`` does not ascend or is not finite.
        """
        if operator.index(bins) < 1:
            message = f"a histogram needs at least one bin, not {bins}"
            raise ValueError(message)
        if range is not None and not -math.inf < range[0] <= range[1] < math.inf:
            message = f"a range ascends from one finite number to another, and {range} does not"
            raise ValueError(message)
        self._check_ordered()
        if range is None:
            statistics = self.stats()
            range = (statistics.minimum or 0.0, statistics.maximum or 0.0)  # noqa: A001
        return histogram_of((chunk.values for chunk in self.chunks()), linear_edges(range[0], range[1], bins))

    def explain(self, *index: int) -> Explanation:
        """Follow one element from its bytes to its value: stored bytes, code, zero point, scale, value.

        Parameters
        ----------
        index
            One whole number per dimension; negative ones count from the end.

        Raises
        ------
        IndexError
            There is no such element.
        ValueError
            The tensor is listed only, or holds complex numbers.
        """
        return explain(self, index)

    def chart(
        self,
        bins: int = 50,
        *,
        space: Space = "values",
        range: tuple[float, float] | None = None,  # noqa: A002 - as NumPy
        log: bool = False,
    ) -> Any:  # noqa: ANN401 - an altair.LayerChart
        """Draw the distribution with Altair, from exact counts in bins: see `quantwidget.charts.histogram`.

        Codes that are integers get a bar each, unless they are more than `MOST_BARS`.

        Parameters
        ----------
        bins, range
            As in `histogram`.
        space
            Look at values, or at codes.
        log
            Counts on a logarithmic axis.

        Raises
        ------
        ImportError
            Altair is not installed: ``pip install "quantwidget[charts]"``.
        ValueError, NotDecodedError
            As `histogram`; the tensor holds plain values, not codes.
        """
        from quantwidget import charts  # noqa: PLC0415 - Altair is imported where a chart is wanted

        title, subtitle = self.name, f"{' × '.join(map(str, self.shape)) or 'scalar'} · {self.storage_dtype}"
        if space == "values":
            counted, statistics = self.histogram(bins, range), self.stats()
        else:
            counted, statistics = self._histogram_of_codes(bins, range)
        marks = {} if statistics.mean is None else {"mean": statistics.mean}
        x = "code" if space == "codes" else "value"
        return charts.histogram(counted, title=title, subtitle=subtitle, x=x, log=log, marks=marks)

    def _histogram_of_codes(
        self,
        bins: int,
        range: tuple[float, float] | None,  # noqa: A002 - as NumPy
    ) -> tuple[Histogram, Statistics]:
        statistics = self.sketch(fine=False).code_statistics
        if statistics is None:
            message = f"{self.name} holds plain values, not codes"
            raise NotDecodedError(message)
        low, high = range if range is not None else (statistics.minimum or 0.0, statistics.maximum or 0.0)
        is_integer = self.quant is not None and DTYPES[self.quant.code_dtype].is_integer
        if is_integer and high - low < MOST_BARS:
            first, last = math.ceil(low), math.floor(high)
            edges = np.arange(first, last + 2, dtype=np.float64) - np.float64(0.5)
        else:
            edges = linear_edges(low, high, bins)
        return histogram_of((chunk.codes for chunk in self.chunks() if chunk.codes is not None), edges), statistics

    def channels(
        self,
        axis: int | None = None,
        *,
        space: Space = "values",
        histogram: bool = False,
        percentages: Sequence[float] = (),
        threads: int | None = None,
    ) -> ChannelStatistics:
        """Statistics of each channel or block, in one pass in the order of the file.

        Memory grows with the channels, not with the elements.

        Parameters
        ----------
        axis
            The dimension whose indices are the channels; negative ones count from the end. By default what shares one
            scale: the channels or blocks of the tensor's scheme. Where there is a single scale or none, axis 0.
        space
            Look at values, or at codes.
        histogram
            Gather a distribution of each channel in the same pass.
        percentages
            Exact percentiles to find as well, from 0 to 100; they take a second reading, and time to sort.
        threads
            As in `summarise`.

        Raises
        ------
        ValueError
            The tensor has no such axis, too many channels (`MAX_CHANNELS`), or a percentage lies outside 0 to 100.
        NotDecodedError
            There are no numbers with an order: codes of a tensor of plain values, or complex numbers.
        """
        work = self.channel_pass(axis, space=space, histogram=histogram)
        counting = self._threads() if threads is None else threads
        for part in in_order((partial(work.gather, number) for number in range(work.groups)), counting):
            work.merge(part)
        statistics, partition = work.statistics(), work.partition
        if not len(percentages):
            return statistics
        if threads is None:  # sorting is a few long calls: several threads pay with NumPy too
            threads = thread_count() if self.size >= PARALLEL_ELEMENTS else 1
        found = percentiles_of(partial(self.read, space=space), partition, percentages, threads=threads)
        return replace(statistics, percentiles=found.reshape(len(percentages), *statistics.count.shape))

    def channel_pass(self, axis: int | None = None, *, space: Space = "values", histogram: bool = False) -> ChannelPass:
        """Return the work that `channels` does, for whoever does it piece by piece; see there."""
        self._check_ordered()
        if space == "codes" and not self.is_quantized:
            message = f"{self.name} holds plain values, not codes"
            raise NotDecodedError(message)
        if axis is None and self.quant is not None:
            return ChannelPass(self, space, Partition.of(self.quant), histogram=histogram)
        return ChannelPass(self, space, Partition.along(self.shape, axis or 0), histogram=histogram)

    def read(self, region: Region, space: Space = "values") -> npt.NDArray[np.generic]:
        """Decode one region: a slice with a start and a stop for each dimension.

        Returns
        -------
        numpy.ndarray
            Shape: the lengths of the region's slices; ``[1]`` for a scalar.
        """
        scheme, place = self._scheme(), region if self.shape else ()
        codes = scheme.codes(self, place)
        numbers = codes if space == "codes" and codes is not None else scheme.values(self, place, codes)
        return numbers.reshape(numbers.shape or 1)

    def _threads(self) -> int:
        """Return how many threads are worth having: one while NumPy does the work, see `turn`."""
        return counting_threads() if self.size >= PARALLEL_ELEMENTS else 1

    def _group_into(self, number: int, empty: Callable[[], AnySummary]) -> AnySummary:
        return self.group(number, empty())

    def _chunks(self, elements: int, first: int, end: int | None) -> Iterator[Chunk]:
        for _, values, codes in self.pieces(elements, first, end):
            yield Chunk(values.reshape(-1), None if codes is None else codes.reshape(-1))

    def pieces(self, elements: int = PIECE, first: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Decode as `chunks` does, the pieces of number ``first`` to ``end`` - 1, and say where each lies."""
        scheme = self._scheme()
        for region in self.regions(elements, first, end):
            codes = scheme.codes(self, region)
            yield Piece(region, scheme.values(self, region, codes), codes)

    def regions(self, elements: int = PIECE, first: int = 0, end: int | None = None) -> Iterator[Region]:
        """Cut as `pieces` does, without decoding; nothing for a tensor whose bytes cannot be reached."""
        if self.storage is not None:
            yield from islice(self.storage.regions(elements), first, end)

    def _values_of(self, codes: npt.NDArray[np.float64]) -> npt.NDArray[np.generic]:
        """Give the values of some codes, shape ``[n]``, of a tensor with one map for all of its codes."""
        dtype = np.dtype(np.float64) if self.quant is None else DTYPES[self.quant.code_dtype].numpy
        anywhere = tuple(slice(0, 1) for _ in self.shape)
        stacked = codes.astype(dtype).reshape(-1, *(1 for _ in self.shape))
        return self._scheme().values(self, anywhere, stacked).reshape(-1)

    def _check_ordered(self) -> None:
        self._scheme()
        if DTYPES[self.dtype].kind == "complex":
            message = f"{self.name} holds complex numbers, which have no distribution along a line"
            raise NotDecodedError(message)

    def _scheme(self) -> Scheme:
        return decoding_scheme(self)

    def _values_dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.float32) if self.is_quantized else DTYPES[self.dtype].held_as


class ChannelPass:
    """One pass over the channels of a tensor, group by group; groups are merged in their order.

    Attributes
    ----------
    groups
        How many there are.
    partition
        The channels.
    """

    def __init__(self, tensor: TensorRef, space: Space, partition: Partition, *, histogram: bool) -> None:
        self.groups = -(-tensor.piece_count // CHANNEL_GROUP)
        self.partition = partition
        self._tensor, self._space = tensor, space
        self._summary = ChannelSummary(partition, histogram=histogram)
        self._kernels = channel_kernels_for(tensor.size)

    def gather(self, number: int) -> ChannelPart:
        """Look at one group."""
        part = self._summary.empty_part()
        for region, values, codes in self._tensor.pieces(PIECE, number * CHANNEL_GROUP, (number + 1) * CHANNEL_GROUP):
            part.update(region, codes if self._space == "codes" and codes is not None else values, self._kernels)
        return part

    def merge(self, part: ChannelPart) -> None:
        """Take in the next group."""
        self._summary.merge(part)

    def statistics(self) -> ChannelStatistics:
        """Return the statistics of what has been merged."""
        return self._summary.statistics()
