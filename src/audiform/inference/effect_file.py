"""A learned effect over a file, block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from audiform.errors import ConfigError
from audiform.inference.effect import Effect
from audiform.inference.effect_automation import Automation
from audiform.inference.render_effect import lossless_format
from audiform.io.read import AudioReader
from audiform.io.write import AudioWriter, open_writer
from audiform.knob import complete_settings


def apply_to_file(
    effect: Effect,
    source: str | Path,
    target: str | Path,
    *,
    settings: Mapping[str, float],
    automation: Automation | None = None,
    beats: Sequence[float] = (),
    on_progress: Callable[[int, int | None], None] | None = None,
) -> AudioWriter:
    """Write ``source`` with ``effect`` on it to ``target``, of the same length, rate and tags.

    The ending of ``target`` names the format; wav is 32-bit float and flac 24-bit. ``beats`` are
    times in seconds, for effects that follow them. Returns the
    closed writer, which says what it clipped. ``on_progress`` is told samples done and in all,
    or None. Raises :class:`ConfigError` for a knob or a format that is not there,
    :class:`AudioError` for files.
    """
    format = lossless_format(Path(target))
    complete_settings(effect.knobs, settings)  # before a file is begun
    with AudioReader(source) as reader:
        info = reader.info
        if Path(target).exists() and Path(target).samefile(info.path):
            raise ConfigError(f"{target} was asked for as input and output; choose another -o")
        stream = effect.stream(
            info.sample_rate,
            info.num_channels,
            automation=automation,
            beats=beats,
            **settings,
        )
        with open_writer(
            target,
            format=format,
            sample_rate=info.sample_rate,
            num_channels=info.num_channels,
            tags=info.tags,
            expected_samples=info.num_samples,
        ) as writer:
            for block in reader:
                writer.write(stream.push(block))
                if on_progress is not None:
                    on_progress(stream.pushed, info.num_samples)
            writer.write(stream.finish())
            writer.commit()
    return writer
