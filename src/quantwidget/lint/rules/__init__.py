"""Rules, one module each: ``NAME``, thresholds with the reason for them, and ``check`` or ``check_model``."""
