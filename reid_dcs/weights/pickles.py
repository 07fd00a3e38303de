"""Read the pickles of ``torch.save`` without running anything that they name.

A pickle is a program, and ``torch.load(weights_only=True)`` still calls PyTorch's and NumPy's
functions with arguments of the file's choice: a storage longer than its record or a nested tuple as
a key ends the process. This interpreter knows the few functions that a file of weights needs, as
stand-ins of its own (:mod:`reid_dcs.weights.pickle_objects`), and builds plain values only.
"""

import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any

from reid_dcs.weights.pickle_objects import (
    Global,
    Storage,
    append_items,
    build,
    call,
    key_set,
    set_items,
    storage_of,
)


def read_pickle(file: IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Read one pickle, and leave ``file`` behind it.

    Args:
        storages: to which every storage that the pickle refers to is added, by its key.

    Returns:
        dictionaries, lists, tuples, sets, numbers, text, bytes and None; :class:`TensorView` and
        :class:`Foreign` in place of other objects.

    Raises:
        Code: it calls a function of the standard library.
        ValueError: it is damaged, or no pickle.
    """
    return _Interpreter({} if storages is None else storages).run(pickletools.genops(file))


_CONSTANTS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 FLOAT "
    "BINFLOAT".split()
)  # opcodes that push their argument
_VALUES: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset(("PROTO", "FRAME"))
_LONGEST = 128  # bits of a whole number; printing a longer one may fail
_MOST_COPIED = 10**7  # items


class _Interpreter:
    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self, instructions: Iterator[tuple]) -> Any:
        for opcode, argument, _ in instructions:
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                if isinstance(argument, int) and argument.bit_length() > _LONGEST:
                    raise ValueError("a whole number is too long")
                self.stack.append(argument)
            elif name in _VALUES:
                self.stack.append(_VALUES[name])
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                self.stack.append(tuple(self.pop(_TUPLES[name])))
            elif name not in _IGNORED:
                self.step(name, argument)
        raise ValueError("the pickle has no end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "MARK":
                self.marks.append(stack)
                self.stack = []
            case "TUPLE" | "LIST" | "FROZENSET":
                items = self.pop_mark()
                make: dict[str, Callable[[list[Any]], Any]]
                make = {"TUPLE": tuple, "LIST": list, "FROZENSET": key_set}
                self.stack.append(make[name](items))
            case "DICT":
                items = self.pop_mark()
                self.stack.append(set_items({}, items))
            case "SETITEM":
                items = self.pop(2)
                set_items(self.stack[-1], items)
            case "SETITEMS":
                items = self.pop_mark()
                set_items(self.stack[-1], items)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = self.pop(1) if name == "APPEND" else self.pop_mark()
                append_items(self.stack[-1], items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "GLOBAL":
                stack.append(Global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                module, qualified = self.pop(2)
                if not isinstance(module, str) or not isinstance(qualified, str):
                    raise ValueError("the name of a function is no text")
                stack.append(Global(f"{module}.{qualified}"))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self.pop(2)
                self.count_copied(arguments)
                stack.append(call(function, arguments))
            case "NEWOBJ_EX":
                function, _, _ = self.pop(3)
                stack.append(call(function, ()))
            case "BUILD":
                (state,) = self.pop(1)
                build(self.stack[-1], state)
            case "BINPERSID":
                self.refer(stack.pop())
            case _:
                raise ValueError(f"the opcode {name} is not of a file of weights")

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("the stack is too short")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def refer(self, reference: Any) -> None:
        """Push what a persistent id refers to: a storage; in old files, also a module's class."""
        if reference[0] == "module":
            self.stack.append(reference[1])
            return
        storage = storage_of(reference)
        self.storages.setdefault(storage.key, storage)
        self.stack.append(storage)

    def count_copied(self, arguments: Any) -> None:
        """Bound what calls may copy: a few bytes of pickle can name a long list again."""
        sized = (list, tuple, dict, set, str)
        self.copied += sum(len(each) for each in arguments if isinstance(each, sized))
        if self.copied > _MOST_COPIED:
            raise ValueError("calls copy too much")

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items
