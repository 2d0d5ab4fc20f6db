"""Learned effects written for other programs: the one door to all formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from audiform.checkpoints.effect_formats import EffectFormat
from audiform.checkpoints.file import Checkpoint
from audiform.checkpoints.fixed_knobs import fix_knobs
from audiform.checkpoints.nam_file import export_nam
from audiform.checkpoints.recurrent_json import export_guitarml, export_rtneural
from audiform.checkpoints.step_graph import export_onnx, export_torch
from audiform.errors import ConfigError

_GRAPHS = {EffectFormat.torch: export_torch, EffectFormat.onnx: export_onnx}
_RECURRENT: dict[EffectFormat, Callable[[Checkpoint, Path], Path]] = {
    EffectFormat.guitarml: export_guitarml,
    EffectFormat.rtneural: export_rtneural,
}


def export_effect(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    to: EffectFormat,
    block_samples: int | None = None,
    settings: Mapping[str, float] | None = None,
    input_level_dbu: float | None = None,
    output_level_dbu: float | None = None,
) -> Path:
    """Write an effect for another program; return the path.

    ``block_samples`` is for graphs (torch, onnx). ``settings`` fixes the knobs of the other
    formats; ``nam`` has none, so there those that are not named stand at their defaults. The
    levels are for ``nam``. Raises :class:`ConfigError` for what a format does not have.
    """
    path, levels = Path(path), (input_level_dbu, output_level_dbu)
    if to in _GRAPHS:
        _refuse(to, knobs=settings, levels=levels)
        return _GRAPHS[to](checkpoint, path, block_samples=block_samples)
    _refuse(to, block=block_samples, levels=() if to == EffectFormat.nam else levels)
    if to == EffectFormat.nam:
        return export_nam(
            fix_knobs(checkpoint, settings or {}),
            path,
            name=path.stem,
            input_level_dbu=input_level_dbu,
            output_level_dbu=output_level_dbu,
        )
    return _RECURRENT[to](fix_knobs(checkpoint, settings) if settings else checkpoint, path)


def _refuse(
    to: EffectFormat,
    *,
    block: int | None = None,
    knobs: Mapping[str, float] | None = None,
    levels: tuple[float | None, ...] = (),
) -> None:
    """Raise for options that a format has no use for."""
    if block is not None:
        raise ConfigError(f"{to} takes blocks of any length; leave the block length out")
    if knobs:
        raise ConfigError(f"{to} keeps its knobs, as inputs; leave their settings out")
    if any(level is not None for level in levels):
        raise ConfigError(f"{to} has no place for levels in dBu; leave them out, or write nam")
