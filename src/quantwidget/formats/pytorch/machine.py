"""The machine that a pickle drives: a stack and a memo of inert values."""

from __future__ import annotations

from quantwidget.errors import CorruptModelError
from quantwidget.formats.pytorch.inert import Call, Name, Persistent, UnhashedKey

MAX_CLASS_NAME = 512
"""Characters in the module or the name of a class."""

MAX_STRING = 64 << 20
"""Bytes of one string; a NumPy array inside a pickle is one."""

MAX_LINE = 1 << 16
"""Bytes of a line: a number, or the name of a class."""

_SHORT_LINE = 128

_SMALL_INTEGER = 1 << 63


class Machine:
    """What the opcodes of one pickle work on.

    Parameters
    ----------
    content
        The bytes that opcodes take their arguments from; nothing is copied but the strings in them.
    names
        Every class and function that was named, in order, by module and name; added to.
    references
        Every reference to something outside the pickle, in order; added to.

    Attributes
    ----------
    stack
        The values since the innermost mark.
    memo
        Values that the pickle comes back to, by number.
    """

    __slots__ = ("_below_marks", "content", "memo", "names", "references", "stack")

    def __init__(
        self, content: bytes | memoryview, names: dict[tuple[str, str], Name], references: list[Persistent]
    ) -> None:
        self.content, self.names, self.references = content, names, references
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self._below_marks: list[list[object]] = []

    def bytes_between(self, start: int, stop: int) -> bytes:
        """Return a part of the content; no more memory is set aside than the file holds."""
        length = stop - start
        if length > MAX_STRING:
            message = f"the pickle holds a string of {length} bytes, more than the limit of {MAX_STRING}"
            raise CorruptModelError(message)
        found = bytes(self.content[start:stop])
        if len(found) != length:
            message = f"the pickle ends inside a value of {length} bytes at byte {start}"
            raise CorruptModelError(message)
        return found

    def line_at(self, at: int) -> bytes:
        """Return the bytes before the next line end."""
        for limit in (_SHORT_LINE, MAX_LINE):
            line, end, _ = bytes(self.content[at : at + limit]).partition(b"\n")
            if end:
                return line
        message = f"the line at byte {at} of the pickle does not end, or is longer than {MAX_LINE} bytes"
        raise CorruptModelError(message)

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def remember(self, index: int) -> None:
        """Keep the last value under a number."""
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push the value that is kept under a number."""
        self.stack.append(self.memo[index])

    def mark(self) -> None:
        """Start a new run of values."""
        self._below_marks.append(self.stack)
        self.stack = []

    def pop_run(self) -> list[object]:
        """End the innermost run and return its values."""
        run, self.stack = self.stack, self._below_marks.pop()
        return run

    def drop_run(self) -> None:
        """Forget the innermost run."""
        self.stack = self._below_marks.pop()

    def drop(self) -> None:
        """Forget the last value, or the mark when there is none after it."""
        if self.stack:
            self.stack.pop()
        else:
            self.drop_run()

    def name(self, module: object, name: object) -> Name:
        """Record the name of a class or function."""
        if not isinstance(module, str) or not isinstance(name, str):
            message = "the pickle names a class by something that is not text"
            raise CorruptModelError(message)
        if max(len(module), len(name)) > MAX_CLASS_NAME:
            message = f"the pickle names a class with more than {MAX_CLASS_NAME} characters"
            raise CorruptModelError(message)
        if (module, name) not in self.names:
            self.names[module, name] = Name(module, name)
        return self.names[module, name]

    def refer(self, identity: object) -> None:
        """Push a reference to something outside the pickle."""
        reference = Persistent(identity)
        self.references.append(reference)
        self.stack.append(reference)

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
        self._entries().update(zip(map(_key, values[::2]), values[1::2], strict=True))

    def set_entry(self, key: object, value: object) -> None:
        """Set one key in the dictionary that is last on the stack."""
        self._entries()[_key(key)] = value

    def _entries(self) -> dict[object, object]:
        target = self.stack[-1]
        if isinstance(target, Call):
            if target.entries is None:
                target.entries = {}
            target = target.entries
        if not isinstance(target, dict):
            message = f"the pickle sets keys in a {type(target).__name__}"
            raise CorruptModelError(message)
        return target

    def build(self) -> None:
        """Give the last value to the object before it as its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Call):
            target.state = state


def _key(value: object) -> object:
    # Python hashes text with a secret seed but numbers without, and large numbers can be chosen to collide.
    if value is None or isinstance(value, (str, bytes, float)):
        return value
    if isinstance(value, int) and abs(value) < _SMALL_INTEGER:
        return value
    return UnhashedKey(value)
