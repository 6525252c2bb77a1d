"""Speed as ratios: quantwidget and others in turn, in one run. Start with ``python -m benchmarks.run``."""
