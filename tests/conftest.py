"""Settings for every test."""

from hypothesis import settings

# Machines are shared: how long an example takes says little.
settings.register_profile("quantwidget", deadline=None)
settings.load_profile("quantwidget")
