"""Settings for every test."""

from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import settings

# Machines are shared: how long an example takes says little.
settings.register_profile("quantwidget", deadline=None)
settings.load_profile("quantwidget")


def pytest_collection_finish() -> None:
    """Take what is imported by now out of the garbage collector's sight.

    It walks a million objects of torch and numba otherwise, in the middle of whatever is held to a bound of time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _quantized_engine():
    """Give torch back the engine for quantized operators that it had before the test."""
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.backends.quantized.engine
    yield
    if torch is not None:
        torch.backends.quantized.engine = before
