"""Values or codes → small mergeable summaries, and the histograms that are drawn from them."""

from quantwidget.sketches.cells import Cells, common_refinement, map_cells
from quantwidget.sketches.choice import counts_for
from quantwidget.sketches.distribution import Distribution
from quantwidget.sketches.edges import integer_edges, linear_edges, log_edges
from quantwidget.sketches.finer_counts import FinerCounts
from quantwidget.sketches.histogram import Histogram, RangeCount, count_between, histogram_of, rebin
from quantwidget.sketches.linear_counts import LinearCounts
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.payload import Payload
from quantwidget.sketches.quantiles import Quantiles, quantile
from quantwidget.sketches.quantizer import BestClip, Quantizer, Sqnr, SqnrCurve, best_clip, sqnr, sqnr_curve
from quantwidget.sketches.sketch import Sketch
from quantwidget.sketches.stored import sketch_from_bytes, sketch_to_bytes

__all__ = [
    "BestClip",
    "Cells",
    "Distribution",
    "FinerCounts",
    "Histogram",
    "LinearCounts",
    "Moments",
    "Payload",
    "Quantiles",
    "Quantizer",
    "RangeCount",
    "Sketch",
    "Sqnr",
    "SqnrCurve",
    "best_clip",
    "common_refinement",
    "count_between",
    "counts_for",
    "histogram_of",
    "integer_edges",
    "linear_edges",
    "log_edges",
    "map_cells",
    "quantile",
    "rebin",
    "sketch_from_bytes",
    "sketch_to_bytes",
    "sqnr",
    "sqnr_curve",
]
