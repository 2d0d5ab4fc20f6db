"""Where the weights of a run come from: nowhere, or a checkpoint, also for other stems."""

from __future__ import annotations

import logging
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
from audiform.nn.magnitude_masks import MagnitudeMaskConfig, MagnitudeMaskModel
from audiform.training.frame_pretraining import start_from

if TYPE_CHECKING:
    from audiform.recipes.separation import SeparationRun

#: Settings of a network that change none of its weights: the recipe's count, not the
#: checkpoint's.
FREE_SETTINGS = ("sources", "segment_seconds", "sparse", "transformer_dropout")

#: Settings that make the masks of a network of magnitudes, and all that are the recipe's.
MASK_SETTINGS = ("sources", "rest_source")
FREE_FRAME_SETTINGS = (
    *MASK_SETTINGS,
    "segment_frames",
    "context_frames",
    "fade_frames",
    "vocal_free",
    "dropout",
    "recompute",
)

logger = logging.getLogger(__name__)


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
    sources have to be learned whole. ``fresh`` are weights that are not the checkpoint's.
    """

    network: nn.Module
    base: Checkpoint | None = None
    lora: LoraConfig | None = None
    fresh: tuple[str, ...] = ()


def starting_network(recipe: SeparationRun) -> Start:
    """Build the network of a run.

    Raises :class:`ConfigError` where that is of another architecture, :class:`CheckpointError`
    where it cannot be read.
    """
    seed, lora = recipe.training.seed, recipe.lora
    if issubclass(MODELS[recipe.architecture].config, MagnitudeMaskConfig):
        start = frame_network(recipe.architecture, recipe.network, recipe.start, seed=seed)
        outputs = start.fresh
    elif recipe.start is None:
        start, outputs = Start(_new_network(recipe.architecture, recipe.network, seed)), ()
    else:
        base = _base_of(recipe.start, recipe.architecture)
        sources = recipe.network.sources  # type: ignore[attr-defined]
        changed = with_sources(base, sources, begin_as=recipe.start.begin_as, seed=seed)
        start = Start(build_model(_with_free_settings(changed, recipe.network)), base)
        outputs = () if changed is base else tuple(source_axes(base.architecture, base.config))
    if lora is None:
        return start
    if outputs:
        lora = lora.model_copy(update={"extras": (*lora.extras, *outputs)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        add_adapters(start.network, lora)
    return start._replace(lora=lora)


def frame_network(
    architecture: str, config: BaseModel, start: StartConfig | None, *, seed: int
) -> Start:
    """Build a network that masks magnitudes, on the weights of ``start`` where there is one.

    Those of the checkpoint's shape; ``config`` says its sources and segments. What makes the
    masks begins fresh for other sources than the checkpoint's, or another number of masks
    than a pretrained one has; that is said in the log, as a warning.
    """
    if start is None:
        return Start(_new_network(architecture, config, seed))
    base = _base_of(start, architecture)
    if start.begin_as:
        raise ConfigError(
            "start.begin_as copies the outputs of sources, and the masks of a network of "
            "magnitudes begin fresh; leave it empty"
        )
    changed = {name: getattr(config, name) for name in FREE_FRAME_SETTINGS}
    shape = type(base.config).model_validate({**base.config.model_dump(), **changed})
    network = _new_network(architecture, shape, seed)
    assert isinstance(network, MagnitudeMaskModel)
    same = all(getattr(shape, name) == getattr(base.config, name) for name in MASK_SETTINGS)
    fresh = start_from(network, base.state, with_head=same or base.header.is_pretrained)
    if fresh:
        logger.warning(
            "%s begins with the weights of %s, but for %s, which are fresh: its masks are others",
            architecture,
            start.checkpoint,
            " and ".join(fresh),
        )
    return Start(network, base, fresh=tuple(fresh))


def _new_network(architecture: str, config: BaseModel, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[architecture].network(config)


def _base_of(start: StartConfig, architecture: str) -> Checkpoint:
    base = read_start(start)
    if base.architecture != architecture:
        raise ConfigError(
            f"the recipe trains {architecture!r}, and {start.checkpoint!r} is "
            f"{base.architecture!r}; start from a checkpoint of the same architecture"
        )
    return base


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
