"""safetensors files written byte by byte, valid or not."""

from __future__ import annotations

import json
import struct


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def file_bytes(header, data=b"", length=None):
    """Put a header, as JSON or as bytes, before the data; ``length`` states another length than it has."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data
