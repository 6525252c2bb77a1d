"""Pickle bytes to inert objects: nothing that a file names is imported, looked up or called."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch.machine import Machine
from quantwidget.formats.pytorch.opcodes import ACTIONS, STOP

if TYPE_CHECKING:
    from quantwidget.formats.pytorch.inert import Name, Persistent

MAX_OPCODES = 3_000_000
"""Opcodes in all pickles of one file; a tensor takes 30 to 50, and each opcode at most about 90 bytes of memory."""

_MALFORMED = (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error)


class PickleReader:
    """Reads the pickles of one file, which lie one after the other or in several entries.

    Parameters
    ----------
    content
        The bytes.

    Attributes
    ----------
    position
        Where the next pickle starts.
    names
        Every class and function that was named so far, in order, by module and name.
    references
        Every reference to something outside the pickles so far, in order.
    """

    def __init__(self, content: bytes | memoryview) -> None:
        self._opcodes_left = MAX_OPCODES
        self.turn_to(content)
        self.names: dict[tuple[str, str], Name] = {}
        self.references: list[Persistent] = []

    def turn_to(self, content: bytes | memoryview) -> None:
        """Go on at the start of other bytes of the same file."""
        self._content = content
        self.position = 0

    def read(self) -> object:
        """Read one pickle.

        Raises
        ------
        CorruptModelError
            The bytes end early, are not a pickle or ask for the extension registry, or the file holds more than
            `MAX_OPCODES`.
        """
        machine = Machine(self._content, self.names, self.references)
        content, at, actions, stop = self._content, self.position, ACTIONS, STOP
        try:
            for left in range(self._opcodes_left - 1, -1, -1):
                code = content[at]
                if code == stop:
                    self.position, self._opcodes_left = at + 1, left
                    return machine.stack.pop()
                at = actions[code](machine, at + 1)
        except CorruptModelError:
            raise
        except _MALFORMED as error:
            message = f"the pickle cannot be read at byte {at}: {type(error).__name__} {error}"
            raise CorruptModelError(message) from error
        message = f"the file's pickles hold more than {MAX_OPCODES} opcodes"
        raise CorruptModelError(message)
