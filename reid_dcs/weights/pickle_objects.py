"""What the pickles of ``torch.save`` hold, as plain values: stand-ins for the functions they call.

Each stand-in takes exactly what files of weights pass to its namesake, and raises ``ValueError``
for anything else. Any other object becomes :class:`Foreign`: its name is kept, and it is never
made.
"""

import codecs
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

_KEYS = (str, int, float, bytes)  # hashing a nested tuple has no bound on time or stack


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


class Global(NamedTuple):
    """A function or class that a pickle names."""

    name: str


class FloatType(NamedTuple):
    """A NumPy type: the struct format of its numbers."""

    format: str


# --- containers ----------------------------------------------------------------------------------


def set_items(target: Any, items: list[Any]) -> Any:
    """Set keys and values; those with keys of other types are left out, as nothing reads them."""
    if isinstance(target, dict):
        if len(items) % 2:
            raise ValueError("a key has no value")
        pairs = zip(items[::2], items[1::2], strict=True)
        target.update((key, value) for key, value in pairs if isinstance(key, _KEYS))
    elif not isinstance(target, Foreign):
        raise ValueError("items are set of what is no dictionary")
    return target


def append_items(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, set):
        target.update(key_set(items))
    elif not isinstance(target, Foreign):
        raise ValueError("items are appended to what is no list")


def key_set(items: Any = ()) -> set[Any]:
    return {item for item in items if isinstance(item, _KEYS)}


def _dictionary(*arguments: Any) -> dict[Any, Any]:
    """``OrderedDict()`` or ``OrderedDict([[key, value], ...])``, ``Counter({...})``, and so on."""
    made: dict[Any, Any] = {}
    for argument in arguments:
        if isinstance(argument, dict):
            made.update(argument)
        elif isinstance(argument, list):
            for pair in argument:
                set_items(made, list(pair))
    return made


# --- objects -------------------------------------------------------------------------------------


def build(target: Any, state: Any) -> None:
    """Set the state of an object. The state of a dictionary is its attributes, which none needs."""
    if isinstance(target, Foreign):
        target.is_module |= isinstance(state, dict) and "_modules" in state
    elif isinstance(target, FloatType):
        if not isinstance(state, tuple) or len(state) < 8 or state[1] not in ("<", "="):
            raise ValueError("the state of a NumPy type is wrong")
    elif not isinstance(target, dict):
        raise ValueError("a state is set of what has none")


def call(function: Any, arguments: Any) -> Any:
    if not isinstance(arguments, tuple):
        raise ValueError("arguments are not a tuple")
    if isinstance(function, Foreign):
        return function
    if not isinstance(function, Global):
        raise ValueError("what is no function is called")
    if function.name in _FUNCTIONS:
        return _FUNCTIONS[function.name](*arguments)
    if function.name in _RECONSTRUCTORS and isinstance(arguments[0], Global):
        function = arguments[0]  # the class of the object
    package = function.name.partition(".")[0]
    if package in _STANDARD and not function.name.startswith(_HARMLESS):
        raise Code(function.name)
    return Foreign(function.name)


def storage_of(reference: Any) -> Storage:
    """A persistent id: ``("storage", type, key, location, numel)``, in old files with a view."""
    kind, storage_type, key, _, length, *view = reference
    if kind not in ("storage", b"storage") or not isinstance(storage_type, Global):
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
    return call(function, arguments)


def _float_type(code: Any, *_: Any) -> FloatType | Foreign:
    """Stand-in of ``numpy.dtype``: 4 or 8 bytes of float; other numbers are foreign."""
    floats = {"f4": "<f", "f8": "<d"}
    if not isinstance(code, str):
        raise ValueError("a NumPy type has no name")
    if code in floats:
        return FloatType(floats[code])
    if code in ("b1", "f2", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))):
        return Foreign(f"numpy.{code}")
    raise ValueError("a NumPy type is not of numbers")


def _float_scalar(number_type: Any, data: Any = b"", *_: Any) -> float | Foreign:
    """Stand-in of NumPy's ``scalar``: a float of exactly its type's size."""
    if isinstance(number_type, Foreign):
        return number_type
    if not isinstance(number_type, FloatType) or not isinstance(data, bytes):
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
    "builtins.set": key_set,
    "builtins.frozenset": key_set,
    "__builtin__.set": key_set,
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
