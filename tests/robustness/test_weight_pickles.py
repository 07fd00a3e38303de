"""Malicious files of ``torch.save``: nothing is run, no process ends, memory and time are bounded.

All cases of a kind are read in one other process, so that a crash of it is seen here.
"""

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from helpers.damage import (
    GOOD,
    archive,
    call,
    damaged,
    mapping,
    name,
    number,
    program,
    tensor,
    text,
    tuple_of,
)  # fmt: skip

from reid_dcs.weights import read_weights

CASES = 80

READER = """
    import sys
    from pathlib import Path
    import torch
    from reid_dcs import InputError
    from reid_dcs.weights import read_weights

    def hook(event, arguments):  # what a file must never cause
        if event.startswith(("os.system", "subprocess.", "os.exec", "os.posix_spawn", "os.fork",
                             "socket.", "shutil.", "os.remove", "os.mkdir", "os.rename")):
            print("CODE", event, arguments, flush=True)
    sys.addaudithook(hook)
    for path in sorted(Path(sys.argv[1]).iterdir()):
        print(path.name, flush=True)
        try:
            state = read_weights(path)["state_dict"]
        except InputError as error:
            assert "\\n" not in str(error), error
            print("refused", flush=True)
        else:
            for tensor in state.values():
                assert tensor.untyped_storage().nbytes() < 2**24
                tensor.double().sum().item()  # reads every number
            print("read", flush=True)
    # ru_maxrss would begin with that of the process that started this one
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("peak", int(status["VmHWM"].split()[0]) // 1024)
"""


def read_all(folder: Path) -> list[str]:
    """Read every file of a folder in another process; the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READER), folder],
        capture_output=True, text=True, timeout=300, cwd=folder.parent,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]}: status {done.returncode}\n{done.stderr[-2000:]}"
    assert not [line for line in lines if line.startswith("CODE")]
    assert int(lines[-1].split()[1]) < 2000, lines[-1]  # MB; PyTorch alone takes hundreds
    assert not list(folder.parent.glob("trap*"))
    return lines


SCALARS = [name("numpy.core.multiarray", "scalar"), name("numpy._core.multiarray", "scalar")]
STATE = tuple_of(number(3), text("<"), b"N", b"N", b"N", number(-1), number(-1), number(0))


def dtype(code: bytes, state: bytes = STATE) -> bytes:
    return call(name("numpy", "dtype"), code, b"\x89", b"\x88") + state + b"b"


def as_bytes(value: bytes) -> bytes:
    return call(name("_codecs", "encode"), text(value.decode("latin1")), text("latin1"))


DEEP = b")" + b"\x85" * 100_000  # a tuple in a tuple in ...
WIDE = b")" + b"q\x00h\x00\x86" * 60  # 2^60 tuples, if anybody counts
ATTACKS = {
    "dtype of any state": dtype(text("V8"), tuple_of(number(3), text("|"), b"N", b"N", b"N")),
    "dtype with fields": dtype(
        text("V8"),
        tuple_of(
            number(3), text("|"), tuple_of(text("f8"), tuple_of(number(2))), tuple_of(text("a")),
            mapping(a=tuple_of(text("x"), number(2**40))), number(2**31 - 1), number(1), number(16),
        ),
    ),  # fmt: skip
    "scalar of objects": call(SCALARS[0], dtype(text("O8")), as_bytes(b"A" * 8)),
    "scalar too short": call(SCALARS[1], dtype(text("f8")), as_bytes(b"A" * 4)),
    "scalar too long": call(SCALARS[1], dtype(text("f4")), as_bytes(b"A" * 800)),
    "scalar without bytes": call(SCALARS[0], dtype(text("f8"))),
    "scalar of a string": call(SCALARS[0], dtype(text("U99")), as_bytes(b"A" * 396)),
    "scalar of no dtype": call(SCALARS[0], number(7), as_bytes(b"A" * 8)),
    "storage longer than its record": tensor(length=2**40),
    "tensor longer than its storage": tensor(size=2**40),
    "tensor that repeats one number": tensor(size=2**40, stride=0),
    "offset outside": tensor(offset=2**60),
    "negative stride": tensor(stride=-1),
    "negative size": tensor(size=-(2**62)),
    "a state set of a tensor": tensor() + tuple_of(number(1), number(2)) + b"b",
    "deep tuple as a key": b"}" + DEEP + number(1) + b"s",
    "wide tuple as a key": b"}" + WIDE + number(1) + b"s",
    "deep tuple in a set": call(name("builtins", "set"), b"](" + DEEP + b"e"),
    "deep tuple as a type": dtype(DEEP),
    "endless list": b"]q\x00(h\x00h\x00h\x00e",
    "memory": call(name("builtins", "bytearray"), number(2**40)),
    "long memo": b"Nr\xff\xff\xff\xff",
    "long text": b"X\xff\xff\xff\xff" + b"abc",
    "long number": b"\x8b\xff\xff\xff\x7f" + b"abc",
    "system": call(name("os", "system"), text("touch trap")),
    "posix": call(name("posix", "system"), text("touch trap")),
    "eval": call(name("builtins", "eval"), text("open('trap', 'w')")),
    "eval of Python 2": call(name("__builtin__", "eval"), text("open('trap', 'w')")),
    "open": call(name("io", "open"), text("trap"), text("w")),
    "import": call(name("importlib", "import_module"), text("antigravity")),
    "subprocess": call(name("subprocess", "Popen"), text("touch trap")),
    "load": call(name("torch", "load"), text("/dev/zero")),
    "hub": call(name("torch.hub", "load"), text("x"), text("y")),
    "another pickle": call(name("torch.storage", "_load_from_bytes"), as_bytes(b"\x80\x02N.")),
    "nested tensors": call(name("torch._utils", "_rebuild_nested_tensor"), tensor(), tensor()),
    "sparse tensors": call(
        name("torch._utils", "_rebuild_sparse_tensor"), number(0), tuple_of(tensor(), tensor())
    ),
    "quantized tensors": call(name("torch._utils", "_rebuild_qtensor"), *[tensor()] * 7),
    "an attribute of a dictionary": call(name("collections", "OrderedDict"))
    + mapping(items=number(1), keys=number(2)) + b"b",
}  # fmt: skip


@pytest.mark.slow
def test_attacks_are_refused_or_without_effect(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for title, attack in ATTACKS.items():
        bodies = {
            "alone": attack,
            "state": mapping(state_dict=mapping(weight=tensor(), attack=attack)),
            "metadata": mapping(state_dict=GOOD, attack=attack),
        }
        for place, body in bodies.items():
            (folder / f"{title}, {place}.pt").write_bytes(archive(program(body)))
            (folder / f"{title}, {place}.pkl").write_bytes(program(body))
    lines = read_all(folder)
    for title in ATTACKS:
        for place in ("alone", "state"):
            result = lines[lines.index(f"{title}, {place}.pt") + 1]
            assert result == "refused", (title, place)


def test_the_stand_ins_read_what_they_replace(tmp_path):
    """float32 and float64 under the module names of NumPy 1 and 2, exactly."""
    for scalar in SCALARS:
        for code, value in (("f8", np.float64(0.1)), ("f4", np.float32(0.1))):
            body = call(scalar, dtype(text(code)), as_bytes(value.tobytes()))
            path = tmp_path / "torchreid.pth"
            path.write_bytes(archive(program(mapping(state_dict=GOOD, rank1=body))))
            content = read_weights(path)
            assert type(content["rank1"]) is float and content["rank1"] == value
            assert content["state_dict"]["weight"].tolist() == [1, 2]


OPCODES = [bytes([code]) for code in range(256)]
PIECES = [
    *ATTACKS.values(), *SCALARS, *OPCODES, GOOD, STATE, tensor(), dtype(text("f4")), text("0"),
    b")", b"}", b"]", b"(", b"t", b"R", b"b", b"q\x01", b"h\x01", b"e", b"u", b"s", b"Q", b"\x81",
    number(-1), number(2**31), number(2**62), name("torch", "Tensor"), name("torch", "Size"),
    name("torch.nn.parameter", "Parameter"), name("numpy", "ndarray"), name("builtins", "getattr"),
]  # fmt: skip


def crafted(rng: random.Random) -> bytes:
    """An archive whose pickle is put together at random, or one that is damaged."""
    pieces = [piece for piece in PIECES if len(piece) < 10_000]
    if rng.random() < 0.3:
        attack = rng.choice([*ATTACKS.values()])
        whole = program(mapping(state_dict=GOOD, other=attack))
        return archive(damaged(whole, rng)) if rng.random() < 0.7 else damaged(archive(whole), rng)
    body = b"".join(rng.choices(pieces, k=rng.randint(1, 12)))
    if rng.random() < 0.5:
        body = mapping(state_dict=mapping(weight=body)) if rng.random() < 0.5 else GOOD + body
    return archive(program(body)) if rng.random() < 0.9 else program(body)


def fuzz(cases: int, seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    for case in range(cases):
        (folder / f"{case:04}.pt").write_bytes(crafted(rng))
    assert len(read_all(folder)) == 2 * cases + 1


def test_crafted_files_end_no_process(tmp_path):
    (tmp_path / "files").mkdir()
    fuzz(CASES, 0, tmp_path / "files")


@pytest.mark.slow
def test_a_thousand_crafted_files_end_no_process(tmp_path):
    (tmp_path / "files").mkdir()
    fuzz(1000, 1, tmp_path / "files")
