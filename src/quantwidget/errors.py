"""What can go wrong when a model file is opened, in words a person understands."""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error that quantwidget raises about a model file."""


class UnsupportedFormatError(ModelError, ValueError):
    """The bytes are not a model file that can be read; the message says what they look like."""


class CorruptModelError(ModelError, ValueError):
    """The file has a known format, and its content contradicts it (truncated, out of bounds, too deep)."""


class NotDecodedError(ModelError, ValueError):
    """The tensor is listed, and its values cannot be given; the message says why."""
