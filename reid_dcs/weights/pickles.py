"""Read the pickles of ``torch.save`` without running anything that they name.

A pickle is a program, and ``torch.load(weights_only=True)`` still calls PyTorch's and NumPy's
functions with arguments of the file's choice: a storage longer than its record or a nested tuple as
a key ends the process. This interpreter knows the few functions that a file of weights needs, as
functions of its own, and builds plain values only. Any other object becomes :class:`Foreign`: its
name is kept, and it is never made.
"""

import codecs
import pickletools
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import torch


class Code(ValueError):
    """A pickle calls a function of the standard library; the message is its name."""


@dataclass(eq=False)
class Foreign:
    """An object of another package, which is not made; ``is_module`` if it is an ``nn.Module``."""

    name: str
    is_module: bool = False


class Storage(NamedTuple):
    """A reference to stored numbers."""

    dtype: torch.dtype
    key: str
    length: int
    """In elements."""
    start: int = 0
    """First element; only old files have views of storages."""


class TensorView(NamedTuple):
    """A tensor as the file describes it: a view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


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


class _Global(NamedTuple):
    """A function or class that a pickle names."""

    name: str


class _FloatType(NamedTuple):
    """A NumPy type: the struct format of its numbers."""

    format: str


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
_KEYS = (str, int, float, bytes)  # hashing a nested tuple has no bound on time or stack


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
                make = {"TUPLE": tuple, "LIST": list, "FROZENSET": _set}
                self.stack.append(make[name](items))
            case "DICT":
                items = self.pop_mark()
                self.stack.append(_set_items({}, items))
            case "SETITEM":
                items = self.pop(2)
                _set_items(self.stack[-1], items)
            case "SETITEMS":
                items = self.pop_mark()
                _set_items(self.stack[-1], items)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = self.pop(1) if name == "APPEND" else self.pop_mark()
                _append(self.stack[-1], items)
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
                stack.append(_Global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                module, qualified = self.pop(2)
                if not isinstance(module, str) or not isinstance(qualified, str):
                    raise ValueError("the name of a function is no text")
                stack.append(_Global(f"{module}.{qualified}"))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self.pop(2)
                self.count_copied(arguments)
                stack.append(_call(function, arguments))
            case "NEWOBJ_EX":
                function, _, _ = self.pop(3)
                stack.append(_call(function, ()))
            case "BUILD":
                (state,) = self.pop(1)
                _build(self.stack[-1], state)
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
        storage = _storage(reference)
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


# --- containers ----------------------------------------------------------------------------------


def _set_items(target: Any, items: list[Any]) -> Any:
    """Set keys and values; those with keys of other types are left out, as nothing reads them."""
    if isinstance(target, dict):
        if len(items) % 2:
            raise ValueError("a key has no value")
        pairs = zip(items[::2], items[1::2], strict=True)
        target.update((key, value) for key, value in pairs if isinstance(key, _KEYS))
    elif not isinstance(target, Foreign):
        raise ValueError("items are set of what is no dictionary")
    return target


def _append(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, set):
        target.update(_set(items))
    elif not isinstance(target, Foreign):
        raise ValueError("items are appended to what is no list")


def _set(items: Any = ()) -> set[Any]:
    return {item for item in items if isinstance(item, _KEYS)}


def _dictionary(*arguments: Any) -> dict[Any, Any]:
    """``OrderedDict()`` or ``OrderedDict([[key, value], ...])``, ``Counter({...})``, and so on."""
    made: dict[Any, Any] = {}
    for argument in arguments:
        if isinstance(argument, dict):
            made.update(argument)
        elif isinstance(argument, list):
            for pair in argument:
                _set_items(made, list(pair))
    return made


# --- objects -------------------------------------------------------------------------------------


def _build(target: Any, state: Any) -> None:
    """Set the state of an object. The state of a dictionary is its attributes, which none needs."""
    if isinstance(target, Foreign):
        target.is_module |= isinstance(state, dict) and "_modules" in state
    elif isinstance(target, _FloatType):
        if not isinstance(state, tuple) or len(state) < 8 or state[1] not in ("<", "="):
            raise ValueError("the state of a NumPy type is wrong")
    elif not isinstance(target, dict):
        raise ValueError("a state is set of what has none")


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(arguments, tuple):
        raise ValueError("arguments are not a tuple")
    if isinstance(function, Foreign):
        return function
    if not isinstance(function, _Global):
        raise ValueError("what is no function is called")
    if function.name in _FUNCTIONS:
        return _FUNCTIONS[function.name](*arguments)
    if function.name in _RECONSTRUCTORS and isinstance(arguments[0], _Global):
        function = arguments[0]  # the class of the object
    package = function.name.partition(".")[0]
    if package in _STANDARD and not function.name.startswith(_HARMLESS):
        raise Code(function.name)
    return Foreign(function.name)


def _storage(reference: Any) -> Storage:
    """A persistent id: ``("storage", type, key, location, numel)``, in old files with a view."""
    kind, storage_type, key, _, length, *view = reference
    if kind not in ("storage", b"storage") or not isinstance(storage_type, _Global):
        raise ValueError("a reference is not to a storage")
    start = 0
    if view and view[0] is not None:
        _, start, length = view[0]
    if not isinstance(key, str) or not _are_counts((length, start)):
        raise ValueError("a reference to a storage is wrong")
    return Storage(_STORAGES[storage_type.name], key, length, start)


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: Any = None
) -> TensorView:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")
    for numbers in ((offset,), size, stride):
        if not isinstance(numbers, tuple) or not _are_counts(numbers):
            raise ValueError("size or stride of a tensor is wrong")
    if len(size) != len(stride):
        raise ValueError("size and stride of a tensor differ in length")
    return TensorView(storage, offset, size, stride, dtype or storage.dtype)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any
) -> TensorView:
    return _rebuild_tensor(storage, offset, size, stride, dtype=_DTYPES[dtype.name])


def _rebuild_parameter(data: Any, *_: Any) -> TensorView:
    if not isinstance(data, TensorView):
        raise ValueError("a parameter is no tensor")
    return data


def _rebuild_from_type(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor with attributes, which are left out."""
    return _call(function, arguments)


def _float_type(code: Any, *_: Any) -> _FloatType | Foreign:
    """Stand-in of ``numpy.dtype``: 4 or 8 bytes of float; other numbers are foreign."""
    floats = {"f4": "<f", "f8": "<d"}
    if not isinstance(code, str):
        raise ValueError("a NumPy type has no name")
    if code in floats:
        return _FloatType(floats[code])
    if code in ("b1", "f2", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))):
        return Foreign(f"numpy.{code}")
    raise ValueError("a NumPy type is not of numbers")


def _float_scalar(number_type: Any, data: Any = b"", *_: Any) -> float | Foreign:
    """Stand-in of NumPy's ``scalar``: a float of exactly its type's size."""
    if isinstance(number_type, Foreign):
        return number_type
    if not isinstance(number_type, _FloatType) or not isinstance(data, bytes):
        raise ValueError("a NumPy number is wrong")
    (number,) = struct.unpack(number_type.format, data)  # raises if the size differs
    return number


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes, which old protocols write as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are wrong")
    return codecs.latin_1_encode(text)[0]


def _sequence(items: Any = ()) -> tuple[Any, ...]:
    if not isinstance(items, list | tuple):
        raise ValueError("a sequence is wrong")
    return tuple(items)


def _are_counts(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < 2**62 for value in values)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "collections.Counter": _dictionary,
    "builtins.dict": _dictionary,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "__builtin__.set": _set,
    "_codecs.encode": _encode,
    "torch.Size": _sequence,
    "torch.device": lambda name="", *_: name,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "numpy.dtype": _float_type,
    "numpy.core.multiarray.scalar": _float_scalar,  # NumPy 1
    "numpy._core.multiarray.scalar": _float_scalar,  # NumPy 2
}
"""Stand-ins for what a file of weights may call."""

_RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor")
_STANDARD = sys.stdlib_module_names | {"__builtin__", "copy_reg", "exceptions"}  # Python 3 and 2
_HARMLESS = (
    "argparse.Namespace",
    "collections.",
    "datetime.",
    "decimal.Decimal",
    "enum.",
    "fractions.Fraction",
    "pathlib.",
    "types.SimpleNamespace",
    "uuid.UUID",
)
"""Objects of the standard library that checkpoints of others hold; they are not made either."""

_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.storage.UntypedStorage": torch.uint8,
}
