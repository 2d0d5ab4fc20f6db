"""A run that learns an effect from recordings: its settings, and what joins data and trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from torch import Tensor, nn

from audiform.checkpoints.header import Licence
from audiform.data.effect_examples import RecordedExamples
from audiform.data.effect_recordings import (
    Recordings,
    ScoredPart,
    Take,
    TakeReader,
    read_recordings,
)
from audiform.dsp.least_squares_filter import NormalEquations, normal_equations
from audiform.errors import ConfigError
from audiform.evaluation.effect_scores import TakeScores, mean_scores, score_takes
from audiform.knob import Knob, settings_to_network
from audiform.models import MODELS
from audiform.protocols import EffectModel
from audiform.recipes.settings import with_settings
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.effect import EffectLossConfig, EffectObjective, EffectValidator
from audiform.training.effect_start import GainAndFilter, Material, fit_start
from audiform.training.folder import require_free
from audiform.training.loop import OnProgress, Task, Trained, train
from audiform.training.result import write_trained
from audiform.training.schedule import CosineSchedule

#: Checkpoint that a run leaves in its folder.
CHECKPOINT_FILE = "model.safetensors"

#: The network that an effect is learned with unless another is asked for.
DEFAULT_ARCHITECTURE = "gain-tcn"

#: What differs from the default settings, by architecture.
OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "gain-tcn": {
        "training.learning_rate": 3e-3,
        "training.optimizer": "adamw",
        "training.weight_decay": 0.1,
        "training.averages": (AverageConfig(decay=0.99),),
        "network.dilations": (1, 4, 16, 64),
        "network.filter_tails": 8,
        "network.filter_shapes": 12,
        "network.num_averages": 2,
    },
}

#: What a run calls the weights that it begins with.
FITTED = "start"

#: The first fit sees at most so much sound of each setting, and of all together unless they are so
#: many that each would be left with less than the last.
FITTED_SECONDS, ALL_FITTED_SECONDS, LEAST_FITTED_SECONDS = 20.0, 120.0, 2.0

#: What the data decides of a network.
FROM_DATA = {"knobs", "sample_rate", "look_ahead_samples"}

#: Look-aheads that are tried where none was asked for. The shortest is taken with which a filter
#: leaves no more of the error than this factor of the least.
LOOK_AHEADS, LOOK_AHEAD_SLACK = (0, 1, 2, 4, 8, 16, 32), 1.05

#: A checkpoint names the settings that it was trained at where they are no more than this.
MOST_SETTINGS = 1000

#: Taps of that filter.
TRIED_TAPS = 256


class EffectData(BaseModel):
    """What of the recordings is used, and how.

    ``segment_seconds`` is what a training example answers, after its look-back. Without
    recordings for validation the last ``valid_share`` of each one is held out, of which
    ``validation_seconds`` in all are scored while training. ``score_only``, PERIOD:START:STOP in
    samples, is what counts of each recording. ``knobs`` replace ranges that the recordings give.
    ``sample_rate`` (Hz) is that of the recordings by default. ``look_ahead_samples`` is how far a
    causal network may hear ahead, which becomes its latency: by default no further than it
    takes to follow targets that come before their inputs, or filters that ring before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_seconds: PositiveFloat = 0.2
    valid_share: float = Field(default=0.15, gt=0, lt=1)
    validation_seconds: PositiveFloat = 30.0
    score_only: str | None = None
    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt | None = None
    align: bool = True
    look_ahead_samples: NonNegativeInt | None = None

    @field_validator("score_only")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                ScoredPart.parse(text)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return text


class EffectRun(BaseModel):
    """All settings of a run.

    ``architecture`` names an effect of ``MODELS``, ``network`` is its configuration without
    knobs and sample rate, which the recordings give. ``fit_start``: the network begins with
    what least squares say of the recordings, where it can; ``fit_steps`` are spent on its gain in
    each of two turns. What is nearly right needs smaller steps: below an error of
    ``full_rate_error`` (a share of the targets' energy) in that start, the learning rate falls
    with its root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = DEFAULT_ARCHITECTURE
    network: dict[str, Any] = {}
    training: TrainingConfig
    data: EffectData = EffectData()
    loss: EffectLossConfig = EffectLossConfig()
    fit_start: bool = True
    fit_steps: NonNegativeInt = 200
    full_rate_error: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _fits_together(self) -> EffectRun:
        entry = MODELS.get(self.architecture)
        if entry is None or not entry.is_effect:
            raise ValueError(f"architecture must be one of {', '.join(effect_architectures())}")
        entry.config.model_validate(self.network)
        return self

    def rate_factor(self, error_left: float) -> float:
        """Return what the rate is multiplied by after a start that leaves so much error."""
        return min(1.0, (error_left / self.full_rate_error) ** 0.5)


def effect_architectures() -> list[str]:
    """Return the names of the networks that have knobs."""
    return [name for name, entry in MODELS.items() if entry.is_effect]


def effect_run(architecture: str = DEFAULT_ARCHITECTURE) -> EffectRun:
    """Train an effect with knobs on recordings of it.

    Returns the default settings for a network of that name.
    """
    if architecture not in effect_architectures():
        raise ConfigError(
            f"no effect can be learned with {architecture!r}; choose one of "
            f"{', '.join(effect_architectures())}"
        )
    config = MODELS[architecture].config()
    run = EffectRun(
        architecture=architecture,
        network=config.model_dump(exclude=FROM_DATA),
        training=TrainingConfig(
            batch_size=4,
            max_seconds=1800.0,
            steps_per_epoch=100,
            optimizer="adam",
            learning_rate=1e-3,
            max_gradient_norm=1.0,
            schedule=CosineSchedule(warmup_steps=20),
            best="esr",
            num_workers=0,
            save_every_seconds=60.0,
            tensorboard=False,
        ),
    )
    return with_settings(run, OWN_SETTINGS.get(architecture, {}))


def effect_tiny() -> EffectRun:
    """Train the tiny form of it: seconds on a CPU."""
    return with_settings(
        effect_run(),
        {
            "network.hidden_channels": 4,
            "network.dilations": (1, 8),
            "network.look_back_seconds": 0.05,
            "fit_steps": 2,
            "training.max_seconds": None,
            "training.max_steps": 4,
            "training.batch_size": 2,
            "training.log_every_steps": 1,
            "data.segment_seconds": 0.05,
        },
    )


def run(
    recipe: EffectRun,
    data: Path,
    output: Path,
    *,
    name: str,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_read: Callable[[Recordings], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Learn the effect recorded in ``data``; leave state, log and the checkpoint in ``output``.

    ``checkpoint`` is another place for the latter. ``on_read`` is told what was read before the
    first step. Raises :class:`DataError` for data that cannot be used, :class:`ConfigError` for
    settings that make no sense or an ``output`` that holds another run.
    """
    require_free(output, resume=resume)
    settings = recipe.data
    recordings = read_recordings(
        data,
        cache_folder=output / "decoded",
        knobs=settings.knobs,
        scored=None if settings.score_only is None else ScoredPart.parse(settings.score_only),
        valid_share=settings.valid_share,
        sample_rate=settings.sample_rate,
        align=settings.align,
    )
    if on_read is not None:
        on_read(recordings)
    material = fitted_material(recordings)
    network = _network(recipe, recordings, material)
    effect = cast(EffectModel, network)
    spec = effect.spec
    training = recipe.training
    if recipe.fit_start and isinstance(network, GainAndFilter):
        module = cast(nn.Module, network)
        left = fit_start(module, material, steps=recipe.fit_steps, seed=training.seed)
        rate = training.learning_rate * recipe.rate_factor(left)
        training = training.model_copy(update={"learning_rate": rate})
    fitted = {name: value.clone() for name, value in network.state_dict().items()}
    segment = round(settings.segment_seconds * spec.sample_rate)
    examples = RecordedExamples(
        recordings.of("train"),
        recordings.knobs,
        context_samples=spec.context_samples,
        segment_samples=max(1, round(segment / spec.block_samples)) * spec.block_samples,
        ahead_samples=spec.latency_samples,
        seed=recipe.training.seed,
    )
    validator = EffectValidator(
        recordings.of("valid"), recordings.knobs, spec.sample_rate, settings.validation_seconds
    )
    origin = {"name": name, "data": _described(recordings)}
    trained = train(
        Task(network, EffectObjective(recipe.loss), examples, validator),
        training,
        folder=output,
        description={**recipe.model_dump(mode="json"), **origin},
        resume=resume,
        on_progress=on_progress,
    )
    trained = _better(trained, fitted, network, validator)
    return write_trained(
        trained,
        checkpoint or output / CHECKPOINT_FILE,
        recipe=recipe,
        origin=origin,
        architecture=recipe.architecture,
        config=network.config,
        knobs=recordings.knobs,
        sample_rate=spec.sample_rate,
        licence=Licence(code="MIT"),
        scores=_scores(network, trained, recordings),
    )


def _better(
    trained: Trained, fitted: Mapping[str, Tensor], network: nn.Module, validator: EffectValidator
) -> Trained:
    """Return what was trained, or what it began with where that does better."""
    network.load_state_dict(fitted)
    network.eval()
    scores = validator(network).scores
    if trained.scores is not None and trained.scores["esr"] <= scores["esr"]:
        return trained
    return replace(trained, weights=dict(fitted), candidate=FITTED, scores=scores)


def _network(recipe: EffectRun, recordings: Recordings, material: Material) -> Any:
    entry = MODELS[recipe.architecture]
    values = {**recipe.network, "knobs": recordings.knobs, "sample_rate": recordings.sample_rate}
    if "look_ahead_samples" in entry.config.model_fields:
        wanted = recipe.data.look_ahead_samples
        values["look_ahead_samples"] = look_ahead(material) if wanted is None else wanted
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return entry.network(entry.config.model_validate(values))


def look_ahead(material: Material) -> int:
    """Return how far ahead a filter must hear to be about as good as any."""
    errors = {}
    for ahead in LOOK_AHEADS:
        sums: dict[tuple[float, ...], NormalEquations] = {}
        for dry, wet, knobs in zip(material.dry, material.wet, material.knobs, strict=True):
            count = wet.shape[-1] - ahead
            if count < TRIED_TAPS:
                continue
            history = nn.functional.pad(dry[0], (TRIED_TAPS - 1, 0))[ahead:]
            found = normal_equations(history, wet[0, :count], num_taps=TRIED_TAPS)
            key = tuple(knobs.tolist())
            sums[key] = sums[key].plus(found) if key in sums else found
        if not sums:
            return 0
        errors[ahead] = sum(found.error(found.solve()) for found in sums.values())
    return min(a for a in errors if errors[a] <= LOOK_AHEAD_SLACK * min(errors.values()) + 1e-9)


def fitted_material(recordings: Recordings) -> Material:
    """Return the beginning of each setting's training material."""
    reader = TakeReader()
    count = len({tuple(take.settings.values()) for take in recordings.of("train")})
    seconds = max(LEAST_FITTED_SECONDS, min(FITTED_SECONDS, ALL_FITTED_SECONDS / count))
    budget = round(seconds * recordings.sample_rate)
    seen: dict[tuple[float, ...], int] = {}
    material = Material([], [], [])
    for take in recordings.of("train"):
        key = tuple(take.settings.values())
        for start, stop in take.spans:
            count = min(stop - start, budget - seen.get(key, 0))
            if count <= 0:
                break
            seen[key] = seen.get(key, 0) + count
            material.dry.append(reader.dry(take, start, start + count))
            material.wet.append(reader.wet(take, start, start + count))
            material.knobs.append(settings_to_network(recordings.knobs, take.settings))
    return material


def _described(recordings: Recordings) -> dict[str, Any]:
    """Return what a checkpoint says of its recordings."""
    alignment = recordings.alignment
    takes = recordings.takes
    train = recordings.of("train")
    settings = {tuple(take.settings.items()): dict(take.settings) for take in train}
    return {
        "fingerprint": recordings.fingerprint,
        "layout": recordings.layout,
        "takes": len({take.name for take in takes}),
        "settings": len(settings),
        "trained_settings": list(settings.values()) if len(settings) <= MOST_SETTINGS else None,
        "train_seconds": round(_seconds(train, recordings), 3),
        "valid_seconds": round(_seconds(recordings.of("valid"), recordings), 3),
        "fixed_knobs": dict(recordings.fixed),
        "alignment": {
            "lag_samples": alignment.lag_samples,
            "moved_samples": alignment.moved_samples,
            "inverted": alignment.inverted,
            "drift_samples": alignment.drift_samples,
            "turned": list(alignment.turned),
            "unclear": list(alignment.unclear),
        },
    }


def _seconds(takes: Sequence[Take], recordings: Recordings) -> float:
    return sum(take.num_samples for take in takes) / recordings.sample_rate


def _scores(network: nn.Module, trained: Trained, recordings: Recordings) -> dict[str, Any]:
    """Score the weights that are handed out, on recordings for the test or else on what is held
    out."""
    network.load_state_dict(trained.weights)
    network.eval()
    split = "test" if recordings.of("test") else "valid"
    takes = recordings.of(split)
    scores = score_takes(
        cast(EffectModel, network),
        takes,
        recordings.of("train"),
        recordings.knobs,
        sample_rate=recordings.sample_rate,
    )
    return {
        "on": split,
        "mean": mean_scores(scores),
        "takes": [_take_scores(take) for take in scores],
    }


def _take_scores(take: TakeScores) -> dict[str, Any]:
    return {
        "name": take.name,
        "settings": dict(take.settings),
        "seconds": round(take.seconds, 3),
        "rows": {name: dict(row) for name, row in take.rows.items()},
    }
