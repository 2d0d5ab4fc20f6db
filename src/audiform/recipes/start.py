"""Where the weights of a run come from: nowhere, or a checkpoint, also for other stems."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from audiform.checkpoints.file import Checkpoint, build_model, listing
from audiform.checkpoints.model_package import resolve
from audiform.checkpoints.new_sources import source_axes, with_sources
from audiform.errors import ConfigError
from audiform.models import MODELS
from audiform.nn.lora import LoraConfig, add_adapters

if TYPE_CHECKING:
    from audiform.recipes.separation import SeparationRun

#: Settings of a network that change none of its weights: the recipe's count, not the
#: checkpoint's.
FREE_SETTINGS = ("sources", "segment_seconds", "sparse", "transformer_dropout")


class StartConfig(BaseModel):
    """``checkpoint`` is a name of the catalogue or a path, of one network or a bag; None: the
    user has to name one.

    Of a bag, ``member`` says which network (0 the first). ``begin_as`` says for new sources
    which one of the checkpoint's they begin as a copy of; others begin fresh.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str | None = None
    member: int | None = None
    begin_as: dict[str, str] = {}


class Start(NamedTuple):
    """The network before the first step, the checkpoint that it comes from, its adapters.

    Adapters for other sources than the checkpoint's have the output layers as extras: new
    sources have to be learned whole.
    """

    network: nn.Module
    base: Checkpoint | None = None
    lora: LoraConfig | None = None


def starting_network(recipe: SeparationRun) -> Start:
    """Build the network of a run.

    Raises :class:`ConfigError` where that is of another architecture, :class:`CheckpointError`
    where it cannot be read.
    """
    seed = recipe.training.seed
    if recipe.start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Start(MODELS[recipe.architecture].network(recipe.network))
    base = read_start(recipe.start)
    if base.architecture != recipe.architecture:
        raise ConfigError(
            f"the recipe trains {recipe.architecture!r}, and {recipe.start.checkpoint!r} is "
            f"{base.architecture!r}; start from a checkpoint of the same architecture"
        )
    sources = recipe.network.sources  # type: ignore[attr-defined]
    changed = with_sources(base, sources, begin_as=recipe.start.begin_as, seed=seed)
    network = build_model(_with_free_settings(changed, recipe.network))
    lora = recipe.lora
    if lora is None:
        return Start(network, base)
    if changed is not base:
        outputs = source_axes(base.architecture, base.config)
        lora = lora.model_copy(update={"extras": (*lora.extras, *outputs)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        add_adapters(network, lora)
    return Start(network, base, lora)


def read_start(start: StartConfig) -> Checkpoint:
    """Read the checkpoint of one network; raises :class:`ConfigError` where a bag has several."""
    if start.checkpoint is None:
        raise ConfigError(
            "this recipe goes on from a checkpoint; name one with --from: a name of "
            "`audiform models list`, or the model.safetensors of a run"
        )
    members = resolve(start.checkpoint).members
    signatures = [member.signature for member in members]
    if start.member is None and len(members) > 1:
        raise ConfigError(
            f"{start.checkpoint!r} is a bag of {listing(signatures)}; name one of these instead, "
            "or say which with start.member"
        )
    number = start.member or 0
    if not 0 <= number < len(members):
        raise ConfigError(
            f"start.member is {number}, and {start.checkpoint!r} has {listing(signatures)}"
        )
    return members[number].read()


def _with_free_settings(checkpoint: Checkpoint, network: BaseModel) -> Checkpoint:
    """Return the checkpoint with what of the recipe's network concerns no weight."""
    free = {
        name: getattr(network, name) for name in FREE_SETTINGS if name in type(network).model_fields
    }
    config = type(checkpoint.config).model_validate({**checkpoint.config.model_dump(), **free})
    header = checkpoint.header.model_copy(update={"config": config.model_dump(mode="json")})
    return Checkpoint(checkpoint.architecture, config, checkpoint.state, header, checkpoint.path)
