"""One file into its stems' files: everything between opening it and the final names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiform.errors import ConfigError
from audiform.inference.background import in_background
from audiform.inference.clipping import ClipMode, check_clip_mode
from audiform.inference.engine import ProgressCallback
from audiform.inference.outputs import StemWriter, WrittenStems
from audiform.inference.selection import OtherMethod, StemSelection, select_stems
from audiform.inference.track import FileTrack
from audiform.io import WRITERS, AudioInfo, OutputFormat, resampled_length

if TYPE_CHECKING:
    from audiform.inference.separator import Separator

#: Bit depth of what comes from a lossy file, unless told otherwise.
DEFAULT_BIT_DEPTH = 16

#: Finished stretches of stems that may wait to be encoded.
BLOCKS_AHEAD = 1


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and how.

    ``format`` is a name in ``WRITERS``. ``bit_depth`` is 16, 24 or 32 (float), None for that of
    the input. ``rate`` is "input", "model" or a rate in Hz. ``clip_mode`` None is "common",
    and nothing at all for float files. ``two_stems`` with ``other_method`` and ``residual`` say
    which outputs there are, as :func:`~audiform.inference.selection.select_stems` does.
    ``keep_tags`` copies tags and cover picture. Raises :class:`ConfigError` for what is not
    offered.
    """

    format: str = "wav"
    bit_depth: int | None = None
    bitrate_kbps: int | None = None
    mp3_preset: int = 2
    rate: str | int = "input"
    clip_mode: ClipMode | None = None
    two_stems: str | None = None
    other_method: OtherMethod = "add"
    residual: bool = False
    keep_tags: bool = True

    def __post_init__(self) -> None:
        if self.format not in WRITERS:
            raise ConfigError(
                f"format {self.format!r} was asked for; choose one of {', '.join(WRITERS)}"
            )
        if self.bit_depth not in (None, 16, 24, 32):
            raise ConfigError(f"a bit depth of {self.bit_depth} was asked for; choose 16, 24 or 32")
        if self.clip_mode is not None:
            check_clip_mode(self.clip_mode)
        if not (self.rate in ("input", "model") or (isinstance(self.rate, int) and self.rate > 0)):
            raise ConfigError(
                f"rate {self.rate!r} was asked for; use input, model or a number of Hz"
            )

    @property
    def extension(self) -> str:
        """Extension of the files, without a dot."""
        return WRITERS[self.format].extension.removeprefix(".")

    def selection(self, sources: tuple[str, ...]) -> StemSelection:
        """Return the outputs to make of a model's sources."""
        return select_stems(
            sources,
            two_stems=self.two_stems,
            other_method=self.other_method,
            residual=self.residual,
        )

    def output_format(self, info: AudioInfo) -> OutputFormat:
        """Return the format of the files made of a file that is as ``info`` says."""
        traits = WRITERS[self.format]
        depth = self.bit_depth or _natural_bit_depth(info)
        is_float = depth == 32 and bool(traits.float_bit_depths)
        return OutputFormat(
            name=self.format,
            bit_depth=min(depth, max(traits.bit_depths))
            if traits.bit_depths and not is_float
            else None,
            is_float=is_float,
            bitrate_kbps=self.bitrate_kbps if traits.bitrates_kbps else None,
            mp3_preset=self.mp3_preset if self.format == "mp3" else None,
        )

    def output_rate(self, *, input_rate: int, model_rate: int) -> int:
        """Return the rate of the files, in Hz."""
        if isinstance(self.rate, int):
            return self.rate
        return model_rate if self.rate == "model" else input_rate


def _natural_bit_depth(info: AudioInfo) -> int:
    """Return 16, 24 or 32 (float): the least that holds what is in a file."""
    if info.is_float:
        return 32
    if info.bit_depth is None:
        return DEFAULT_BIT_DEPTH
    return 16 if info.bit_depth <= 16 else 24


def separate_file_to(
    separator: Separator,
    path: Path,
    out: Path | Callable[[str], Path],
    options: OutputOptions,
    *,
    on_progress: ProgressCallback | None = None,
) -> WrittenStems:
    """Take one file apart into files, in constant memory; all of them appear, or none.

    ``out`` is a folder, or a function from the name of an output to its path. ``on_progress`` is
    called from the thread that runs the network. Raises
    :class:`AudioError` for a file that cannot be read to its end or outputs that cannot be
    written, before the network runs wherever that can be known.
    """
    selection = options.selection(separator.sources)
    if isinstance(out, Path):
        folder = out
        paths = [folder / f"{name}.{options.extension}" for name in selection.names]
    else:
        paths = [out(name) for name in selection.names]
    track = FileTrack(path)
    separator.load(selection.needed_sources)
    scan = separator.scan(track)
    output_format = options.output_format(track.info)
    rate = options.output_rate(input_rate=track.sample_rate, model_rate=separator.sample_rate)
    is_float = output_format.is_float
    with StemWriter(
        paths,
        selection.names,
        output_format=output_format,
        sample_rate=rate,
        num_channels=track.num_channels,
        num_samples=resampled_length(
            scan.num_samples, from_rate_hz=track.sample_rate, to_rate_hz=rate
        ),
        clip_mode=options.clip_mode or ("none" if is_float else "common"),
        tags=track.info.tags if options.keep_tags else None,
    ) as writer:
        blocks = separator.blocks(
            track,
            scan,
            output_rate=rate,
            needed=selection.needed_sources,
            on_progress=on_progress,
        )
        # the network works on the next segment while this one's stems are encoded
        with closing(in_background(blocks, ahead=BLOCKS_AHEAD)) as finished:
            for block in finished:
                writer.write(selection.apply(block))
        return writer.commit()
