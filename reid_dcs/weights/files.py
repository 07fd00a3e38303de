"""Read weight files without running code from them, and load state dicts exactly."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reid_dcs.errors import InputError, OtherArchitecture
from reid_dcs.weights.foreign import STATE_KEYS, names_of, with_state_dict
from reid_dcs.weights.kinds import mistaken_for_weights
from reid_dcs.weights.pickle_objects import Code, Foreign
from reid_dcs.weights.safetensors import is_safetensors, load_safetensors
from reid_dcs.weights.torch_files import read_torch_file


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this package or of another project, a bare state dict, or safetensors.

    Nothing that the file names is run, and objects other than tensors and plain values are left
    out. In files of other projects the state dict may be under another name, or one level down.

    Returns:
        ``state_dict``, without the prefixes of DataParallel, ``torch.compile`` and wrappers in its
        names, and everything else that the file holds.

    Raises:
        InputError: the file is missing, damaged or too large when unpacked, holds no weights, or
            holds code; a file of another kind is named.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        if path.exists():
            raise InputError(f"no weights at {path.resolve()}: it is not a regular file")
        raise InputError(f"no weights at {path.resolve()}: check the path")
    try:
        if is_safetensors(path):
            content: Any = load_safetensors(path)
        else:
            if kind := mistaken_for_weights(path):
                raise InputError(f"{path} is not a file of weights but {kind}")
            content = read_torch_file(path)
    except InputError:
        raise
    except Code as error:
        raise InputError(
            f"{path} is not a file of weights: it calls {error}, which is never run; use a state "
            "dict or a checkpoint"
        ) from error
    except Exception as error:  # damaged files raise many kinds of errors
        raise InputError(
            f"{path} is not a file of weights, or it is damaged: use another file"
        ) from error
    _refuse_objects(content, path)
    found = with_state_dict(content) if isinstance(content, Mapping) else None
    if found is None:
        keys = f" among its keys {names_of(content)}" if isinstance(content, Mapping) else ""
        raise InputError(f"{path} holds no weights{keys}: use a state dict or a checkpoint")
    return {key: value for key, value in found.items() if not isinstance(value, Foreign)}


def load_exactly(
    module: nn.Module, state: Mapping[str, Tensor], source: object, ignore: str | None = None
) -> None:
    """``load_state_dict`` that changes nothing unless all names and shapes match.

    A module on the device ``meta`` has no place for weights: they are only checked.

    Args:
        source: origin of the state dict, for errors.
        ignore: parameters whose names contain this text may be missing, unexpected or of another
            shape; those that match are loaded.

    Raises:
        InputError: other names or shapes differ, or a weight is not finite.
    """
    check_fits(module, state, source, ignore)
    current = module.state_dict()
    matching = {k: v for k, v in state.items() if k in current and current[k].shape == v.shape}
    for name, tensor in matching.items():
        if not tensor.is_meta and not tensor.isfinite().all():
            raise InputError(
                f"{source} holds a number that is not finite in {name}: the model has diverged; "
                "use an earlier checkpoint"
            )
    if not any(tensor.is_meta for tensor in current.values()):
        module.load_state_dict(matching, strict=ignore is None)


def check_fits(
    module: nn.Module, state: Mapping[str, Tensor], source: object, ignore: str | None = None
) -> None:
    """Check that names and shapes are those of a module, which may be on the device ``meta``.

    The arguments are those of :func:`load_exactly`.

    Raises:
        OtherArchitecture: they are not.
    """
    current = module.state_dict()
    wrong = {
        "missing": [k for k in current if k not in state],
        "unexpected": [k for k in state if k not in current],
        "of another shape": [
            k for k in current if k in state and current[k].shape != state[k].shape
        ],
    }
    if ignore is not None:
        wrong = {what: [k for k in names if ignore not in k] for what, names in wrong.items()}
    if any(wrong.values()):
        found = "; ".join(f"{len(v)} {what}, such as {v[0]}" for what, v in wrong.items() if v)
        if not any(k in current and current[k].shape == v.shape for k, v in state.items()):
            found = f"nothing fits: it has {names_of(state)}; the model has {names_of(current, 3)}"
        raise OtherArchitecture(
            f"{source} holds the weights of another architecture ({found}): name the model that it "
            "was trained as"
        )


def _refuse_objects(content: Any, path: Path) -> None:
    """Raise if the file, or what should be its state dict, is an object that is not made."""
    places = [content]
    if isinstance(content, Mapping):
        places = [content.get(key) for key in STATE_KEYS]
    for value in places:
        if isinstance(value, Foreign):
            what = "a whole pickled module" if value.is_module else "a pickled object"
            raise InputError(
                f"{path} is not a file of weights but {what} ({value.name}), whose code is never "
                "run: save its state_dict() where its code is"
            )
