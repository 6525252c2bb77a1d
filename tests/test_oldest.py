"""The environment with the oldest versions holds what the package says it supports."""

from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OLDEST = Path(__file__).parent / "oldest.txt"


def test_the_oldest_versions_are_the_lower_bounds():
    lines = [line for line in OLDEST.read_text().splitlines() if not line.startswith("#")]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in map(Requirement, lines)}
    for needed in map(Requirement, requires("quantwidget")):
        if needed.marker is None:
            (lowest,) = (part.version for part in needed.specifier if part.operator == ">=")
            assert pinned[canonicalize_name(needed.name)] == lowest
