"""The time that a hostile file may take."""

from __future__ import annotations

import time

import pytest

SECONDS = 2


@pytest.fixture
def quick():
    """Fail a test that takes longer, in processor time: machines are shared."""
    started = time.process_time()
    yield
    assert time.process_time() - started < SECONDS
