"""Training runs by name. Adding one: write its function, add its line to ``RECIPES``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from audiform.recipes.alignment import inverse_align, inverse_align_tiny
from audiform.recipes.alignment import run as run_alignment
from audiform.recipes.band_split import band_split, band_split_tiny
from audiform.recipes.demucs import demucs, demucs_tiny
from audiform.recipes.effect import EffectRun, effect_architectures, effect_run, effect_tiny
from audiform.recipes.effect import run as run_effect
from audiform.recipes.frame_primer import (
    frame_primer,
    frame_primer_pretrain,
    frame_primer_pretrain_small,
    frame_primer_pretrain_small_tiny,
    frame_primer_pretrain_tiny,
    frame_primer_small,
    frame_primer_small_tiny,
    frame_primer_tiny,
)
from audiform.recipes.frame_transformer import (
    frame_transformer,
    frame_transformer_small,
    frame_transformer_small_tiny,
    frame_transformer_tiny,
)
from audiform.recipes.hdemucs import hdemucs, hdemucs_ft, hdemucs_ft_tiny, hdemucs_tiny
from audiform.recipes.htdemucs import (
    htdemucs,
    htdemucs_ft,
    htdemucs_ft_tiny,
    htdemucs_lora,
    htdemucs_lora_tiny,
    htdemucs_sparse,
    htdemucs_sparse_tiny,
    htdemucs_tiny,
)
from audiform.recipes.inverse import (
    inverse_denoise,
    inverse_denoise_tiny,
    inverse_dereverb,
    inverse_dereverb_tiny,
)
from audiform.recipes.inverse import run as run_inverse
from audiform.recipes.named import NamedRecipe
from audiform.recipes.pretraining import PretrainingRun
from audiform.recipes.pretraining import run as run_pretraining
from audiform.recipes.separation import SeparationRun
from audiform.recipes.separation import run as run_separation
from audiform.recipes.small import (
    hdemucs_small,
    hdemucs_small_tiny,
    htdemucs_small,
    htdemucs_small_tiny,
)
from audiform.recipes.vocal_removal import VocalRemovalRun
from audiform.recipes.vocal_removal import run as run_vocal_removal
from audiform.training.loop import OnProgress


class Recipe(Protocol):
    """A training run: data in, the path of a checkpoint out."""

    def __call__(
        self,
        data: Path,
        output: Path,
        *,
        resume: bool = False,
        start: str | None = None,
        settings: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Train on ``data``, write into ``output``, return the checkpoint's path.

        ``resume`` goes on from the state in ``output``. ``start`` is a checkpoint, by name or
        path, whose weights the run begins with. ``settings`` replaces values of the
        recipe by dotted path, such as ``{"training.max_seconds": 600}``. ``on_progress`` is
        told after each step where the run stands.
        """
        ...


#: Name, as ``audiform train`` takes it -> function that returns the settings of a separation run.
SEPARATION_RUNS: dict[str, Callable[[], SeparationRun]] = {
    "demucs": demucs,
    "demucs-tiny": demucs_tiny,
    "hdemucs": hdemucs,
    "hdemucs-tiny": hdemucs_tiny,
    "hdemucs-ft": hdemucs_ft,
    "hdemucs-ft-tiny": hdemucs_ft_tiny,
    "htdemucs": htdemucs,
    "htdemucs-tiny": htdemucs_tiny,
    "htdemucs-sparse": htdemucs_sparse,
    "htdemucs-sparse-tiny": htdemucs_sparse_tiny,
    "htdemucs-ft-drums": partial(htdemucs_ft, "drums"),
    "htdemucs-ft-bass": partial(htdemucs_ft, "bass"),
    "htdemucs-ft-other": partial(htdemucs_ft, "other"),
    "htdemucs-ft-vocals": partial(htdemucs_ft, "vocals"),
    "htdemucs-ft-tiny": htdemucs_ft_tiny,
    "htdemucs-small": htdemucs_small,
    "htdemucs-small-tiny": htdemucs_small_tiny,
    "hdemucs-small": hdemucs_small,
    "hdemucs-small-tiny": hdemucs_small_tiny,
    "frame-primer-small": frame_primer_small,
    "frame-primer-small-tiny": frame_primer_small_tiny,
    "frame-transformer-small": frame_transformer_small,
    "frame-transformer-small-tiny": frame_transformer_small_tiny,
    "htdemucs-lora": htdemucs_lora,
    "htdemucs-lora-tiny": htdemucs_lora_tiny,
}

#: Name -> training run of an effect, on recordings of its input and output.
EFFECT_RECIPES: dict[str, NamedRecipe[EffectRun]] = {
    "effect": NamedRecipe("effect", effect_run, run_effect),
    "effect-tiny": NamedRecipe("effect-tiny", effect_tiny, run_effect),
    **{
        f"effect-{architecture}": NamedRecipe(
            f"effect-{architecture}", partial(effect_run, architecture), run_effect
        )
        for architecture in effect_architectures()
    },
}

#: Name -> training run of an effect that undoes something, on any folder of sounds.
INVERSE_RECIPES: dict[str, NamedRecipe[Any]] = {
    "inverse-align": NamedRecipe("inverse-align", inverse_align, run_alignment),
    "inverse-align-tiny": NamedRecipe("inverse-align-tiny", inverse_align_tiny, run_alignment),
    "inverse-denoise": NamedRecipe("inverse-denoise", inverse_denoise, run_inverse),
    "inverse-denoise-tiny": NamedRecipe("inverse-denoise-tiny", inverse_denoise_tiny, run_inverse),
    "inverse-dereverb": NamedRecipe("inverse-dereverb", inverse_dereverb, run_inverse),
    "inverse-dereverb-tiny": NamedRecipe(
        "inverse-dereverb-tiny", inverse_dereverb_tiny, run_inverse
    ),
}

#: The same for runs that remove vocals.
VOCAL_REMOVAL_RUNS: dict[str, Callable[[], VocalRemovalRun]] = {
    "frame-transformer": frame_transformer,
    "frame-transformer-tiny": frame_transformer_tiny,
    "frame-primer": frame_primer,
    "frame-primer-tiny": frame_primer_tiny,
}

#: The same for runs that pretrain on music without stems.
PRETRAINING_RUNS: dict[str, Callable[[], PretrainingRun]] = {
    "frame-primer-pretrain": frame_primer_pretrain,
    "frame-primer-pretrain-tiny": frame_primer_pretrain_tiny,
    "frame-primer-pretrain-small": frame_primer_pretrain_small,
    "frame-primer-pretrain-small-tiny": frame_primer_pretrain_small_tiny,
}

#: Name -> training run.
RECIPES: dict[str, Recipe] = {
    "default": band_split,
    "default-tiny": band_split_tiny,
    **EFFECT_RECIPES,
    **INVERSE_RECIPES,
    **{name: NamedRecipe(name, of, run_separation) for name, of in SEPARATION_RUNS.items()},
    **{name: NamedRecipe(name, of, run_vocal_removal) for name, of in VOCAL_REMOVAL_RUNS.items()},
    **{name: NamedRecipe(name, of, run_pretraining) for name, of in PRETRAINING_RUNS.items()},
}
