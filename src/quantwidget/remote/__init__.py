"""Model files that another machine holds, read a range at a time through fsspec (extra ``quantwidget[remote]``).

`path` says what formats ask of a path, `file` reads ahead and sees that the file stays the same, `web` asks servers of
HTTP, `filesystem` asks whatever else fsspec knows. fsspec is imported with the first address, never before.
"""

from __future__ import annotations

from quantwidget.remote.address import is_address, shown
from quantwidget.remote.file import RemoteFile
from quantwidget.remote.path import RemotePath
from quantwidget.remote.places import place_of_address, place_of_opened

__all__ = ["RemoteFile", "RemotePath", "is_address", "place_of_address", "place_of_opened", "shown"]
