"""A search as one job: Algorithm 1, then the training of what it found, then windows.json."""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs import distributed
from reid_dcs.assembly import (
    Parts,
    announce,
    assemble,
    build_criterion,
    checkpoint_to_resume,
    engine_options,
)
from reid_dcs.attention import GSA
from reid_dcs.config import Config
from reid_dcs.data.augment import normalise
from reid_dcs.engine.curves import draw_curves
from reid_dcs.files import write_json
from reid_dcs.output import open_output, write_setting
from reid_dcs.search import SearchEngine, describe_windows, pruned, search_parameters
from reid_dcs.search.prune import compare

CERTAIN = 1e4  # a logit that no Gumbel noise outdoes


def search_windows(config: Config, device: torch.device) -> dict[str, Tensor]:
    """Run Algorithm 1 in ``<output_dir>/search``, or take up what lies there.

    Returns:
        the state of the searched network.

    Raises:
        InputError: anything the user can mend.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    folder = Path(config.output_dir, "search")
    resumed = checkpoint_to_resume(config, folder)
    if resumed and resumed["epoch"] == config.search.epochs:
        return resumed["state_dict"]
    parts = assemble(config, device)
    engine = SearchEngine(
        parts.manager,
        parts.model,
        build_criterion(config),
        config.search,
        **engine_options(config, parts),
    )
    start_epoch = engine.resume(resumed) if resumed else 0
    open_output(folder, fresh=resumed is None)
    write_setting(folder, config, device)
    announce(config, parts.dataset, parts.model, device)
    print("search", flush=True)
    engine.run(folder, config.search.epochs, start_epoch, config.eval.every)
    if distributed.is_main():
        draw_curves(engine.history, f"search of {config.model.name}", folder / "curves.png")
    return parts.model.state_dict()


def put_windows(model: nn.Module, found: dict[str, Tensor], retrain: str) -> None:
    """Begin a training with what a search has found.

    Args:
        model: fresh.
        found: the state of the searched network.
        retrain: ``rebuild`` takes the windows alone, into fresh weights, and holds them still;
            ``warm_frozen`` takes the weights too; ``warm_joint`` trains the windows along.
            ``auto`` rebuilds where windows are a layer's own; those of positions come from
            features, and mean nothing to other ones, so that it is ``warm_frozen`` there.
    """
    _, windows, logits = search_parameters(model)
    searched = {id(parameter) for parameter in windows + logits}
    if retrain == "auto":
        own = all(parameter.ndim == 1 for parameter in windows)
        retrain = "rebuild" if own else "warm_frozen"
    if retrain == "rebuild":
        names = [name for name, own in model.named_parameters() if id(own) in searched]
        found = {name: found[name] for name in names}
    model.load_state_dict(found, strict=retrain != "rebuild")
    if retrain == "warm_joint":
        return
    for parameter in windows + logits:
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, GSA):  # in training it draws: from now on always the same
            likeliest = F.one_hot(module.logits.argmax(), len(module.logits))
            module.logits.copy_(CERTAIN * likeliest)


def write_windows(config: Config, parts: Parts, output: Path) -> None:
    """Write ``windows.json`` on the trained network, and print what it says in short."""

    def images() -> Iterator[Tensor]:
        """Of training, spread evenly, not augmented."""
        store = parts.manager.train_loader.store
        count = min(config.search.calibration, len(store))
        index = torch.linspace(0, len(store) - 1, count).round().long()
        for batch in index.split(config.eval.batch_size):
            device = next(parts.model.parameters()).device
            yield normalise(store.images[batch].to(device))

    blocks = describe_windows(parts.model, images())
    smaller = pruned(parts.model, images())
    macs, fewer = (sum(own[key] for own in blocks.values()) for key in ("macs", "pruned_macs"))
    content = {
        "images": min(config.search.calibration, len(parts.manager.train_loader.store)),
        "blocks": blocks,
        "macs": macs,
        "pruned_macs": fewer,
        **compare(parts.model, smaller, next(images())),
    }
    write_json(output / "windows.json", content)
    print("\nblock                   channels   start  length  selected")
    for name, own in blocks.items():
        start, length, selected = (own[key]["mean"] for key in ("start", "length", "selected"))
        print(f"{name:22}  {own['channels']:8}  {start:6.1f}  {length:6.1f}  {selected:8.1%}")
    print(
        f"affinity products: {macs / 1e6:.2f} M multiply-adds an image, {fewer / 1e6:.2f} M "
        f"without the channels that nothing reads; features differ by {content['difference']:.0e}"
    )
