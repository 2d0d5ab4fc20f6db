"""A reference effect over a file, block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from audiform.effects import find_effect
from audiform.errors import ConfigError
from audiform.io.read import AudioReader
from audiform.io.write import WRITERS, AudioWriter, OutputFormat, open_writer
from audiform.knob import complete_settings


def render_effect(
    name: str,
    source: str | Path,
    target: str | Path,
    *,
    settings: Mapping[str, float],
    on_progress: Callable[[int, int | None], None] | None = None,
) -> AudioWriter:
    """Write ``source`` with the effect ``name`` on it to ``target``, of the same length and rate.

    The ending of ``target`` names the format; wav is 32-bit float and flac 24-bit, so that a
    network can be held against it. Returns the closed writer, which says what it clipped.
    ``on_progress`` is told samples done and in all, or None. Raises :class:`ConfigError` for an
    effect, a knob or a format that is not there, :class:`AudioError` for files.
    """
    effect, format = find_effect(name), lossless_format(Path(target))
    complete = complete_settings(effect.knobs, settings)  # before a file is begun
    with AudioReader(source) as reader:
        info = reader.info
        if Path(target).exists() and Path(target).samefile(info.path):
            raise ConfigError(f"{target} was asked for as input and output; choose another -o")
        with open_writer(
            target,
            format=format,
            sample_rate=info.sample_rate,
            num_channels=info.num_channels,
            tags=info.tags,
            expected_samples=info.num_samples,
        ) as writer:
            state = None
            for block in reader:
                dry = torch.from_numpy(block)
                wet, state = effect.step(dry, state, info.sample_rate, **complete)
                writer.write(wet.numpy())
                if on_progress is not None:
                    on_progress(writer.num_samples, info.num_samples)
            writer.commit()
    return writer


def lossless_format(target: Path) -> OutputFormat:
    """Return the format that the ending of ``target`` names, as precise as it gets.

    Raises :class:`ConfigError` for an ending that is none.
    """
    name = target.suffix.removeprefix(".").lower()
    if name not in WRITERS:
        raise ConfigError(
            f"{target.name} does not end in the name of a format; "
            f"choose from .{', .'.join(WRITERS)}"
        )
    depths = WRITERS[name].bit_depths
    is_float = bool(WRITERS[name].float_bit_depths)
    return OutputFormat(
        name, bit_depth=max(depths) if depths and not is_float else None, is_float=is_float
    )
