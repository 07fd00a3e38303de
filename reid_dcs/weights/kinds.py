"""Files that are mistaken for weights, each by its name."""

import zipfile
from pathlib import Path

_HEAD = 512  # bytes that tell the kind

_STARTS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    (
        (b"version https://git-lfs.github.com/",),
        "a Git LFS pointer, which stands for the file: run git lfs pull in its repository",
    ),
    ((b"<?xml", b"<error"), "an XML page, perhaps of a server's error: download the file itself"),
    ((b"<",), "a web page (HTML), which came instead of the file: download the file itself"),
    ((b"{", b"["), "a JSON text, perhaps of a server's error: download the file itself"),
    ((b"\x89hdf\r\n",), "an HDF5 file (Keras or MATLAB): convert it to a PyTorch state dict"),
    ((b"\x93numpy",), "a NumPy array: convert it to a PyTorch state dict"),
    ((b"\x1f\x8b",), "packed by gzip: unpack it first"),
    ((b"rar!", b"7z\xbc\xaf"), "a packed archive: unpack it first"),
    ((b"\xff\xd8\xff", b"\x89png"), "an image: pass it as an image"),
)  # compared in lower case
_ONNX_TAGS = b"\x12\x1a\x22\x28\x32\x3a\x42"  # fields of ModelProto that may follow ir_version


def mistaken_for_weights(path: Path) -> str | None:
    """What the file is and what to do, if it is of a known kind without PyTorch's weights."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        for starts, kind in _STARTS:
            if text.startswith(starts):
                return kind
        if head[0] == 0x08 and 0 < head[1] < 0x40 and head[2:3] and head[2] in _ONNX_TAGS:
            return "an ONNX graph, which runs without this package: use the weights it came from"
        if head[257:262] == b"ustar":
            return "a tar archive: unpack it first"
        return _archive(zipfile.ZipFile(file)) if zipfile.is_zipfile(file) else None


def _archive(archive: zipfile.ZipFile) -> str | None:
    names = archive.namelist()
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return (
            "a TorchScript archive, a network with its code: use the weights it came from, or save "
            "torch.load(FILE).state_dict()"
        )
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays: convert it to a PyTorch state dict"
    if names and "data.pkl" not in inside:
        return f"an archive of other files, such as {names[0]!r:.60}: unpack it first"
    return None
