"""Values or codes → small mergeable summaries, and the histograms that are drawn from them."""

from quantwidget.sketches.cells import Cells, map_cells
from quantwidget.sketches.choice import counts_for
from quantwidget.sketches.distribution import Distribution
from quantwidget.sketches.edges import integer_edges, linear_edges
from quantwidget.sketches.histogram import Histogram, count_between, histogram_of, rebin
from quantwidget.sketches.moments import Moments
from quantwidget.sketches.payload import Payload
from quantwidget.sketches.sketch import Sketch

__all__ = [
    "Cells",
    "Distribution",
    "Histogram",
    "Moments",
    "Payload",
    "Sketch",
    "count_between",
    "counts_for",
    "histogram_of",
    "integer_edges",
    "linear_edges",
    "map_cells",
    "rebin",
]
