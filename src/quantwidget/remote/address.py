"""Addresses as people write them, and as they may be shown."""

from __future__ import annotations

import re

_START = re.compile(r"(?:[a-z][a-z0-9+.-]+(?:::|://[^:]*::))*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
"""A scheme of two letters at least (one is a drive), or several in a chain, as fsspec has them."""

_QUERY = re.compile(r"[?#]\S*")
_USER = re.compile(r"(?<=://)[^/@\s]*@")


def is_address(text: str) -> bool:
    """Tell an address (``https://…``, ``s3://…``, ``simplecache::https://…``) from the path of a local file."""
    return _START.match(text) is not None


def shown(text: str) -> str:
    """Leave out what may be secret: queries, which sign an address, and names and passwords before the host."""
    return _USER.sub("", _QUERY.sub("", text))
