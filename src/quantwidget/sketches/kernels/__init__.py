"""What is computed on a contiguous run of elements: once in NumPy, once in numba, with equal results to the last bit.

Whoever sums up or counts asks `kernels_for` anew for every piece, since it does not matter which engine did which.
"""

from quantwidget.sketches.kernels.engines import counting_threads, engine, kernels_for, turn
from quantwidget.sketches.kernels.key_counts import KeyCounts
from quantwidget.sketches.kernels.plain import LANES, PLAIN, LaneSums, is_plain

__all__ = ["LANES", "PLAIN", "KeyCounts", "LaneSums", "counting_threads", "engine", "is_plain", "kernels_for", "turn"]
