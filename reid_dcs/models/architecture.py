"""One network of a search space: widths, expansions and windows, and their JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from reid_dcs.attention import ATTENTIONS
from reid_dcs.config.settings import NOT_OPTIONS
from reid_dcs.errors import InputError
from reid_dcs.files import read_text, write_json
from reid_dcs.models.space import Space

PACKAGED = Path(__file__).with_name("found")
"""Folder of architectures found by our searches: NAME.json, and the search's NAME.yaml."""

READING = ("bounds", "min_length")
"""Options of an attention that decide what the logits of its windows mean."""


@dataclass(frozen=True)
class Architecture:
    """One network of a space, as a search finds it.

    The JSON file holds these fields. They are checked when a network is built from it.
    """

    space: str
    """A key of ``SPACES``."""
    widths: tuple[int, ...]
    """Output channels of each block."""
    expansions: tuple[float, ...]
    """Hidden channels of each block as a multiple of its input channels."""
    attention: str | None = None
    """Kind of attention that ``windows`` belong to."""
    windows: tuple[Mapping[str, list[float]], ...] = ()
    """Window logits of each attention block, for kinds whose windows do not depend on the input
    (``dcs_sw``, ``gsa``). Networks with another attention ignore them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Those of ``READING`` that the search had: a network with others would have other windows."""

    @classmethod
    def largest(cls, space: Space) -> "Architecture":
        """The network with the widest option of every block."""
        return cls._at(space, -1)

    @classmethod
    def smallest(cls, space: Space) -> "Architecture":
        """The network with the narrowest option of every block."""
        return cls._at(space, 0)

    @classmethod
    def _at(cls, space: Space, i: int) -> "Architecture":
        widths = tuple(block.widths[i] for block in space.blocks)
        return cls(space.name, widths, tuple(block.expansions[i] for block in space.blocks))

    @classmethod
    def load(cls, source: "ArchitectureSource", space: Space) -> "Architecture":
        """Load an architecture of this space and check it.

        Args:
            source: a JSON file, the name of a packaged architecture (a file of that name takes
                precedence), the content of a file, or an architecture.
            space: the space that it must belong to.

        Raises:
            InputError: no such file, not an architecture, or one of another space.
        """
        where = source if isinstance(source, str | Path) else "the architecture"
        if isinstance(source, str | Path):
            source = read_architecture(source)
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
                raise InputError(f"{where}: {key} must be a list, one entry for each block")
        if not isinstance(content.get("options", {}), Mapping):
            raise InputError(f"{where}: options must be a mapping, such as {{bounds: clamp}}")
        arguments: dict[str, Any] = {
            key: tuple(value) if key in lists else value for key, value in content.items()
        }
        return cls(**arguments)

    def _check(self, space: Space, where: object) -> None:
        if self.space != space.name:
            raise InputError(f"{where} belongs to the space {self.space!r}, not {space.name!r}")
        blocks = space.blocks
        for name, given, options in (
            ("widths", self.widths, lambda block: block.widths),
            ("expansions", self.expansions, lambda block: block.expansions),
        ):
            if len(given) != len(blocks):
                raise InputError(f"{where}: {len(given)} {name}, but {len(blocks)} blocks")
            for i, (value, block) in enumerate(zip(given, blocks, strict=True)):
                if value not in options(block) or (name == "widths" and type(value) is not int):
                    allowed = ", ".join(map(str, options(block)))
                    raise InputError(f"{where}: {name}[{i}] is {value!r}, not one of {allowed}")
        if self.attention not in (None, *ATTENTIONS):
            known = ", ".join(ATTENTIONS)
            raise InputError(f"{where}: attention is {self.attention!r}, not one of {known}")
        if self.windows and self.attention is None:
            raise InputError(f"{where}: windows belong to a kind of attention, which it must name")

    def write(self, path: str | Path) -> None:
        """Write the JSON file that :meth:`load` reads."""
        write_json(Path(path), asdict(self))


ArchitectureSource = Architecture | str | Path | Mapping[str, Any]
"""What :meth:`Architecture.load` accepts."""


def packaged_architectures() -> list[str]:
    """Names of the architectures that come with the package."""
    return sorted(path.stem for path in PACKAGED.glob("*.json"))


def options_of_card(
    options: Mapping[str, Any], given: Mapping[str, Any], source: object
) -> dict[str, Any]:
    """The options of a file of weights that the user does not give, safe to build from.

    The name of a packaged architecture becomes its content.

    Args:
        options: of the file's card.
        given: the user's options, which replace those of the same name.
        source: name of the file, for errors.

    Raises:
        InputError: an option names a file; files that a file of weights names are never opened.
    """
    kept = {key: value for key, value in options.items() if key not in given}
    for key in sorted(NOT_OPTIONS & kept.keys()):
        raise InputError(f"{source}: wrong model card: model.options.{key} is not an option")
    architecture = kept.get("architecture")
    if isinstance(architecture, str):
        if architecture not in packaged_architectures():
            raise InputError(
                f"{source} names the file {architecture[:60]!r} as its architecture, and files "
                "that weights name are not opened: pass model.options.architecture=FILE"
            )
        kept["architecture"] = read_architecture(PACKAGED / f"{architecture}.json")
    return kept


def read_architecture(source: str | Path) -> Any:
    """The content of an architecture's file, not yet checked.

    Args:
        source: a JSON file, or the name of a packaged architecture.

    Raises:
        InputError: no such file, or not JSON.
    """
    path = Path(source)
    if not path.exists() and str(path) in packaged_architectures():
        path = PACKAGED / f"{path}.json"
    try:
        return json.loads(read_text(path))
    except OSError as error:
        raise InputError(
            f"no architecture at {path.resolve()}: {error.strerror}; give a file, or one of "
            f"{', '.join(packaged_architectures())}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not an architecture: it is not JSON ({error})") from error
