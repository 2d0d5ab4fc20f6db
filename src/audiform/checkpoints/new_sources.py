"""A checkpoint for other stems than it was trained for.

Only the outermost layer of each decoder knows the sources: its channels are theirs, one
source after the other. So a network can be given fewer, more or other sources, and says the
same as before about those that it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from audiform import models
from audiform.checkpoints.file import Checkpoint
from audiform.errors import ConfigError

#: Architectures whose outputs are one source after the other, each by itself. The masks of
#: ``band-split`` are a softmax over the sources: another source changes all of them.
INDEPENDENT_SOURCES = frozenset({"demucs", "hdemucs", "htdemucs"})


def source_axes(architecture: str, config: BaseModel) -> dict[str, int]:
    """Return the tensors whose size depends on the number of sources, and along which axis."""
    one, two = (
        _outline(architecture, config.model_copy(update={"sources": names}))
        for names in (("a",), ("a", "b"))
    )
    return {
        name: next(axis for axis, size in enumerate(shape) if size != two[name][axis])
        for name, shape in one.items()
        if shape != two[name]
    }


def _outline(architecture: str, config: BaseModel) -> dict[str, torch.Size]:
    """Return the shapes of a network's tensors, without allocating them."""
    with torch.device("meta"):
        network = models.MODELS[architecture].network(config)
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def with_sources(
    checkpoint: Checkpoint,
    sources: Sequence[str],
    *,
    begin_as: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Checkpoint:
    """Return ``checkpoint`` for ``sources``, in their order.

    A source that it has keeps its output weights, so that its stem is the same as before. A
    new one begins as a copy of the source that ``begin_as`` names for it, or else with fresh
    weights, as the network's own initialisation draws them from ``seed``. All other weights
    are kept. Raises :class:`ConfigError`.
    """
    had, begin_as = tuple(checkpoint.header.sources), dict(begin_as or {})
    sources = tuple(sources)
    _check_sources(checkpoint, sources, begin_as)
    if sources == had:
        return checkpoint
    config = checkpoint.config.model_copy(update={"sources": sources})
    fresh = _fresh_state(checkpoint.architecture, config, seed)
    state = dict(checkpoint.state)
    for name, axis in source_axes(checkpoint.architecture, config).items():
        old = dict(zip(had, state[name].chunk(len(had), dim=axis), strict=True))
        new = dict(zip(sources, fresh[name].chunk(len(sources), dim=axis), strict=True))
        blocks = [old.get(begin_as.get(source, source), new[source]) for source in sources]
        state[name] = torch.cat(blocks, dim=axis)
    header = checkpoint.header.model_copy(
        update={"sources": sources, "config": config.model_dump(mode="json"), "scores": {}}
    )
    return replace(checkpoint, config=config, state=state, header=header)


def _fresh_state(architecture: str, config: BaseModel, seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = models.MODELS[architecture].network(config)
    return network.state_dict()


def _check_sources(
    checkpoint: Checkpoint, sources: tuple[str, ...], begin_as: dict[str, str]
) -> None:
    had = tuple(checkpoint.header.sources)
    if sources != had and checkpoint.architecture not in INDEPENDENT_SOURCES:
        raise ConfigError(
            f"a {checkpoint.architecture!r} network divides the mixture among its sources "
            f"{', '.join(had)}: other ones cannot be put in; start from one of "
            f"{', '.join(sorted(INDEPENDENT_SOURCES))}, or train from nothing"
        )
    if not sources or len(set(sources)) != len(sources):
        raise ConfigError(f"sources must be different names, got {', '.join(sources) or 'none'}")
    for new, old in begin_as.items():
        if new not in sources or new in had or old not in had:
            raise ConfigError(
                f"{new!r} cannot begin as {old!r}: the first must be a new source (wanted are "
                f"{', '.join(sources)}), the second one of the checkpoint's, {', '.join(had)}"
            )
