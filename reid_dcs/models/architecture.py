"""One network of a space: its widths, expansions and windows, and the JSON file of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.models.space import Space

FOUND = Path(__file__).with_name("found")
"""Architectures that our searches found: NAME.json, and NAME.yaml, the search's configuration."""


@dataclass(frozen=True)
class Architecture:
    """What a search found, or the ends of a space.

    Its file is these fields as JSON. A wrong file is refused when a network is made of it.
    """

    space: str
    """A key of ``SPACES``."""
    widths: tuple[int, ...]
    """Filters of each block's output."""
    expansions: tuple[float, ...]
    """Each block's hidden channels as a multiple of its input's."""
    attention: str | None = None
    """The kind of attention that ``windows`` are of."""
    windows: tuple[Mapping[str, list[float]], ...] = ()
    """Where each layer has one choice of windows (``dcs_sw``, ``gsa``): its logits, layer by layer.
    A network with another attention does not read them."""

    @classmethod
    def largest(cls, space: Space) -> "Architecture":
        """Every block as wide as the space allows."""
        return cls._at(space, -1)

    @classmethod
    def smallest(cls, space: Space) -> "Architecture":
        """Every block as narrow as the space allows."""
        return cls._at(space, 0)

    @classmethod
    def _at(cls, space: Space, i: int) -> "Architecture":
        widths = tuple(block.widths[i] for block in space.blocks)
        return cls(space.name, widths, tuple(block.expansions[i] for block in space.blocks))

    @classmethod
    def of(cls, source: "Architecture | str | Path | Mapping[str, Any]", space: Space):
        """An architecture of this space from its file, the file's content, or itself.

        A name in ``FOUND`` serves as a file, where there is no other file of that name.

        Raises:
            InputError: no such file, not an architecture, or none of this space.
        """
        where = source if isinstance(source, str | Path) else "the architecture"
        if isinstance(source, str | Path):
            source = _read(Path(source))
        if not isinstance(source, cls):
            source = cls._from_content(source, where)
        source._check(space, where)
        return source

    @classmethod
    def _from_content(cls, content: Any, where: object) -> "Architecture":
        known = {field.name for field in fields(cls)}
        required = {"space", "widths", "expansions"}
        if not isinstance(content, Mapping) or not required <= content.keys() <= known:
            raise InputError(
                f"{where} is not an architecture: it must have {', '.join(sorted(required))}, and "
                f"may have {', '.join(sorted(known - required))}"
            )
        lists = ("widths", "expansions", "windows")
        for key in lists:
            if not isinstance(content.get(key, ()), Sequence) or isinstance(content.get(key), str):
                raise InputError(f"{where}: {key} must be a list, one entry a block")
        return cls(**{k: tuple(v) if k in lists else v for k, v in content.items()})

    def _check(self, space: Space, where: object) -> None:
        if self.space != space.name:
            raise InputError(f"{where} is of the space {self.space!r}, not {space.name!r}")
        blocks = space.blocks
        for name, given, of in (
            ("widths", self.widths, lambda block: block.widths),
            ("expansions", self.expansions, lambda block: block.expansions),
        ):
            if len(given) != len(blocks):
                raise InputError(f"{where}: {len(given)} {name}, but {len(blocks)} blocks")
            for i, (value, block) in enumerate(zip(given, blocks, strict=True)):
                if value not in of(block):
                    allowed = ", ".join(map(str, of(block)))
                    raise InputError(f"{where}: {name}[{i}] is {value!r}, not one of {allowed}")

    def write(self, path: str | Path) -> None:
        """The file that :meth:`of` reads."""
        write_json(Path(path), asdict(self))


def found_architectures() -> list[str]:
    """Names of the architectures that come along."""
    return sorted(path.stem for path in FOUND.glob("*.json"))


def _read(path: Path) -> Any:
    if not path.exists() and str(path) in found_architectures():
        path = FOUND / f"{path}.json"
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f"no architecture at {path.resolve()}: {error.strerror}; give a file, or one of "
            f"{', '.join(found_architectures())}"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not an architecture: it is no JSON ({error})") from error
