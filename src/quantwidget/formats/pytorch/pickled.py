"""Pickle bytes to inert objects: nothing that a file names is imported, looked up or called."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch.inert import Call, Name, Persistent, UnhashedKey
from quantwidget.formats.pytorch.opcodes import ACTIONS, STOP

if TYPE_CHECKING:
    import mmap

MAX_OPCODES = 8_000_000
"""Opcodes in one pickle; a tensor takes about 50, and each opcode at most about 100 bytes of memory."""

MAX_CLASS_NAME = 512
"""Characters in the module or the name of a class; both are joined each time the class is met."""

_SMALL_INTEGER = 1 << 63

_MALFORMED = (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error)


class PickleReader:
    """Reads pickles that lie one after the other.

    Parameters
    ----------
    content
        The bytes; nothing is copied but the strings in them.
    position
        Where the first pickle starts.

    Attributes
    ----------
    position
        Where the next byte is taken from; after `read`, where the next pickle starts.
    names
        Every class and function that was named, in order.
    references
        Every reference to something outside the pickle, in order.
    """

    def __init__(self, content: bytes | mmap.mmap, position: int = 0) -> None:
        self.position = position
        self.names: dict[Name, None] = {}
        self.references: list[Persistent] = []
        self._content = content
        self._start()

    def _start(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self._below_marks: list[list[object]] = []

    def read(self) -> object:
        """Read one pickle.

        Raises
        ------
        CorruptModelError
            The bytes end early, are not a pickle, ask for the extension registry, or hold more than `MAX_OPCODES`.
        """
        self._start()
        try:
            for _ in range(MAX_OPCODES):
                code = self._content[self.position]
                self.position += 1
                if code == STOP:
                    return self.stack.pop()
                ACTIONS[code](self)
        except CorruptModelError:
            raise
        except _MALFORMED as error:
            message = f"the pickle cannot be read at byte {self.position}: {type(error).__name__} {error}"
            raise CorruptModelError(message) from error
        message = f"the pickle holds more than {MAX_OPCODES} opcodes"
        raise CorruptModelError(message)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes; no more memory is set aside than the file holds."""
        taken = self._content[self.position : self.position + count]
        if count < 0 or len(taken) != count:
            message = f"the pickle ends inside a value of {count} bytes at byte {self.position}"
            raise CorruptModelError(message)
        self.position += count
        return taken

    def take_number(self, layout: struct.Struct) -> int:
        """Return the next number of a fixed width."""
        value: int = layout.unpack_from(self._content, self.position)[0]
        self.position += layout.size
        return value

    def take_line(self) -> bytes:
        """Return the bytes before the next line end."""
        end = self._content.find(b"\n", self.position)
        taken = self.take(max(end - self.position, 0))
        self.take(1)
        return taken

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Start a new run of values."""
        self._below_marks.append(self.stack)
        self.stack = []

    def pop_run(self) -> list[object]:
        """End the innermost run and return its values."""
        run, self.stack = self.stack, self._below_marks.pop()
        return run

    def drop(self) -> None:
        """Forget the last value, or the mark when there is none after it."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_run()

    def name(self, module: object, name: object) -> Name:
        """Record the name of a class or function."""
        if not isinstance(module, str) or not isinstance(name, str):
            message = "the pickle names a class by something that is not text"
            raise CorruptModelError(message)
        if max(len(module), len(name)) > MAX_CLASS_NAME:
            message = f"the pickle names a class with more than {MAX_CLASS_NAME} characters"
            raise CorruptModelError(message)
        named = Name(module, name)
        self.names[named] = None
        return named

    def refer(self, identity: object) -> None:
        """Push a reference to something outside the pickle."""
        reference = Persistent(identity)
        self.references.append(reference)
        self.push(reference)

    def append(self, values: list[object]) -> None:
        """Append values to the list that is last on the stack."""
        target = self.stack[-1]
        if isinstance(target, Call):
            if target.items is None:
                target.items = []
            target = target.items
        if not isinstance(target, list):
            message = f"the pickle appends to a {type(target).__name__}"
            raise CorruptModelError(message)
        target.extend(values)

    def set_entries(self, values: list[object]) -> None:
        """Set keys and values, in turn, in the dictionary that is last on the stack."""
        target = self.stack[-1]
        if isinstance(target, Call):
            if target.entries is None:
                target.entries = {}
            target = target.entries
        if not isinstance(target, dict):
            message = f"the pickle sets keys in a {type(target).__name__}"
            raise CorruptModelError(message)
        target.update(dictionary(values))

    def build(self) -> None:
        """Give the last value to the object before it as its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Call):
            target.state = state


def dictionary(values: list[object]) -> dict[object, object]:
    """Make a dictionary of keys and values in turn."""
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _key(value: object) -> object:
    # Python hashes text with a secret seed but numbers without, and large numbers can be chosen to collide.
    if value is None or isinstance(value, str | bytes | float):
        return value
    if isinstance(value, int) and abs(value) < _SMALL_INTEGER:
        return value
    return UnhashedKey(value)
