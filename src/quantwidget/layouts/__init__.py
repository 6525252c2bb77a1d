"""How elements lie in a file when they are not simply one after another: each layout reads as `Elements`.

A layout knows where the bits of an element are. It knows nothing of files, of schemes or of what the elements mean.
"""

from quantwidget.layouts.computed import Computed, constant, repeated
from quantwidget.layouts.packed import PackedWords
from quantwidget.layouts.sparse import Sparse
from quantwidget.layouts.tiled import tiled
from quantwidget.layouts.traversed import Level, traversed
from quantwidget.layouts.views import Cropped, Permuted, Reshaped

__all__ = [
    "Computed",
    "Cropped",
    "Level",
    "PackedWords",
    "Permuted",
    "Reshaped",
    "Sparse",
    "constant",
    "repeated",
    "tiled",
    "traversed",
]
