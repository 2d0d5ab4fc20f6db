"""Writing audio files block by block; a new format is one function and one line in ``WRITERS``.

A file is written as ``<name>.part`` and gets its name only when it is whole. Integer formats
round to nearest with a full scale of 2**(bits - 1), so 16-bit audio that is read and written
again keeps every bit; what is beyond full scale is clipped and counted. Float is never
touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import av
import numpy as np
import soundfile

from audiform.errors import AudioError, ConfigError
from audiform.io.pyav_encoder import PyavEncoder
from audiform.io.resample import StreamResampler, resampled_length
from audiform.io.soundfile_encoder import VORBIS_QUALITY, SoundfileEncoder
from audiform.io.tags import Tags
from audiform.io.wav_file import WavFile

PART_SUFFIX = ".part"

#: Preset of LAME: 2 is the best that is worth its time, 7 the fastest (as Demucs).
MP3_PRESET = 2

#: The sum of an AAC or LAME frame's overhead and headers, tables of the container.
_CONTAINER_BYTES = 1 << 16


@dataclass(frozen=True)
class OutputFormat:
    """What kind of file to write.

    ``name`` is a key of :data:`WRITERS`. ``bit_depth`` is for wav (16, 24; 32 with
    ``is_float``) and flac (16, 24), ``bitrate_kbps`` for mp3, m4a and opus, ``mp3_preset``
    (2 best ... 7 fastest) for mp3; None takes the format's default. Raises
    :class:`ConfigError` for an option that the format does not have.
    """

    name: str
    bit_depth: int | None = None
    is_float: bool = False
    bitrate_kbps: int | None = None
    mp3_preset: int | None = None

    def __post_init__(self) -> None:
        traits = _traits(self.name)
        depths = traits.bit_depths if not self.is_float else traits.float_bit_depths
        if self.is_float and not depths:
            raise ConfigError(f"{self.name} holds no float samples; choose wav")
        if self.bit_depth is not None and self.bit_depth not in depths:
            choices = " or ".join(map(str, depths)) or "no bit depth at all"
            raise ConfigError(f"{self.name} was asked for {self.bit_depth} bits; it has {choices}")
        if self.bitrate_kbps is not None:
            low, high = traits.bitrates_kbps or (0, -1)
            if not low <= self.bitrate_kbps <= high:
                choices = f"{low} to {high} kbit/s" if high > 0 else "no bit rate to choose"
                raise ConfigError(
                    f"{self.name} was asked for {self.bitrate_kbps} kbit/s; it has {choices}"
                )
        if self.mp3_preset is not None and (self.name != "mp3" or not 2 <= self.mp3_preset <= 7):
            raise ConfigError(
                f"mp3_preset is 2 (best) to 7 (fastest), and only for mp3; "
                f"got {self.mp3_preset} for {self.name}"
            )

    @property
    def extension(self) -> str:
        """The file name's ending, with its dot."""
        return _traits(self.name).extension

    @property
    def bits(self) -> int | None:
        """Bits per sample that are written; None for lossy formats."""
        traits = _traits(self.name)
        depths = traits.float_bit_depths if self.is_float else traits.bit_depths
        return self.bit_depth or (depths[0] if depths else None)

    @property
    def kbps(self) -> int | None:
        """Bit rate that is aimed at, in kbit/s; None where there is none to choose."""
        return self.bitrate_kbps or _traits(self.name).default_kbps


@runtime_checkable
class Encoder(Protocol):
    """What a writer needs of a file format."""

    def write(self, samples: np.ndarray) -> None:
        """Append ``samples`` (time, channels): int32, left-aligned in 32 bits, or float32."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...

    def discard(self) -> None:
        """Close the file as it is; it will be deleted."""
        ...


@dataclass(frozen=True)
class _Target:
    """All that an encoder is told."""

    path: Path
    format: OutputFormat
    sample_rate: int
    num_channels: int
    tags: Tags
    expected_samples: int | None


def _open_wav(target: _Target) -> Encoder:
    assert target.format.bits is not None
    return WavFile(
        target.path,
        sample_rate=target.sample_rate,
        num_channels=target.num_channels,
        bit_depth=target.format.bits,
        is_float=target.format.is_float,
        tags=target.tags,
        expected_samples=target.expected_samples,
    )


def _open_flac(target: _Target) -> Encoder:
    return _open_soundfile(target, container="FLAC", subtype=f"PCM_{target.format.bits}")


def _open_ogg(target: _Target) -> Encoder:
    return _open_soundfile(target, container="OGG", subtype="VORBIS")


def _open_soundfile(target: _Target, *, container: str, subtype: str) -> Encoder:
    return SoundfileEncoder(
        target.path,
        container=container,
        subtype=subtype,
        sample_rate=target.sample_rate,
        num_channels=target.num_channels,
        tags=target.tags,
    )


def _open_mp3(target: _Target) -> Encoder:
    preset = target.format.mp3_preset or MP3_PRESET
    return _open_pyav(
        target,
        container="mp3",
        codec="libmp3lame",
        codec_options={"compression_level": str(preset)},
        container_options={"id3v2_version": "0"},  # the tag is ours
    )


def _open_m4a(target: _Target) -> Encoder:
    # The default edit list counts in milliseconds: lengths would be off by up to that.
    options = {"movie_timescale": str(target.sample_rate), "brand": "M4A "}
    return _open_pyav(target, container="mp4", codec="aac", container_options=options)


def _open_opus(target: _Target) -> Encoder:
    return _open_pyav(target, container="opus", codec="libopus")


def _open_pyav(
    target: _Target,
    *,
    container: str,
    codec: str,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Encoder:
    assert target.format.kbps is not None
    return PyavEncoder(
        target.path,
        container=container,
        codec=codec,
        sample_rate=target.sample_rate,
        num_channels=target.num_channels,
        bitrate_kbps=target.format.kbps,
        tags=target.tags,
        codec_options=codec_options,
        # "bitexact": no version, no random serial number; the same audio gives the same bytes.
        container_options={"fflags": "+bitexact", **(container_options or {})},
    )


@dataclass(frozen=True)
class FormatTraits:
    """What a format can hold; the first of several is its default."""

    open: Callable[[_Target], Encoder]
    extension: str
    max_channels: int
    bit_depths: tuple[int, ...] = ()
    float_bit_depths: tuple[int, ...] = ()
    bitrates_kbps: tuple[int, int] | None = None
    default_kbps: int | None = None
    sample_rates: tuple[int, ...] | None = None
    max_rate_hz: int = 655_350


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (*_MP3_RATES, 64000, 88200, 96000)

#: Every format that can be written.
WRITERS: dict[str, FormatTraits] = {
    "wav": FormatTraits(
        _open_wav, ".wav", max_channels=255, bit_depths=(16, 24), float_bit_depths=(32,)
    ),
    "flac": FormatTraits(_open_flac, ".flac", max_channels=8, bit_depths=(16, 24)),
    "mp3": FormatTraits(
        _open_mp3, ".mp3", max_channels=2, bitrates_kbps=(8, 320), default_kbps=320,
        sample_rates=_MP3_RATES,
    ),
    "m4a": FormatTraits(
        _open_m4a, ".m4a", max_channels=2, bitrates_kbps=(16, 512), default_kbps=256,
        sample_rates=_AAC_RATES,
    ),
    "ogg": FormatTraits(_open_ogg, ".ogg", max_channels=8, max_rate_hz=192_000),
    "opus": FormatTraits(  # decoders always give 48 kHz, so nothing else keeps the length
        _open_opus, ".opus", max_channels=2, bitrates_kbps=(6, 510), default_kbps=192,
        sample_rates=(48000,),
    ),
}  # fmt: skip


class AudioWriter:
    """Takes blocks (channels, n) of float32 and writes them to ``path`` (see :func:`open_writer`).

    As a context manager it deletes what it wrote unless :meth:`commit` was called.
    ``sample_rate`` is the rate really written and ``note`` says why if it is not the one
    asked for; ``clipped_samples`` counts values beyond full scale that an integer format cut.
    """

    def __init__(self, target: _Target, *, final_path: Path, from_rate_hz: int) -> None:
        self.path = final_path
        self.format = target.format
        self.sample_rate = target.sample_rate
        self.num_channels = target.num_channels
        self.note = _rate_note(target.format.name, from_rate_hz, target.sample_rate)
        self.clipped_samples = 0
        self.num_samples = 0
        self._part = target.path
        self._is_open = True
        self._resampler = StreamResampler(
            from_rate_hz=from_rate_hz,
            to_rate_hz=target.sample_rate,
            num_channels=target.num_channels,
        )
        self._integer_bits = None if target.format.is_float else target.format.bits
        try:
            self._encoder = WRITERS[target.format.name].open(target)
        except _WRITE_ERRORS as error:
            self._part.unlink(missing_ok=True)
            raise self._failure(error) from error

    def __enter__(self) -> AudioWriter:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Delete what was written, unless it was committed."""
        self.abort()

    def write(self, block: np.ndarray) -> None:
        """Append ``block`` (channels, n) in [-1, 1].

        Raises :class:`AudioError` for another number of channels, NaN or infinity, or if the
        disk takes no more.
        """
        self._require_open()
        block = np.asarray(block, np.float32)
        if block.ndim != 2 or block.shape[0] != self.num_channels:
            raise AudioError(
                f"the file has {self.num_channels} channels, got a block of the shape "
                f"{block.shape}; give (channels, time)",
                path=self.path,
            )
        if not np.isfinite(block).all():
            raise AudioError(
                f"the audio to be written has NaN or infinity within "
                f"{block.shape[1]} samples after {self.num_samples}; nothing was written. "
                "A model that gives such values may be damaged, or run out of its precision",
                path=self.path,
            )
        self.num_samples += block.shape[1]
        self._encode(self._resampler.push(block))

    def commit(self) -> Path:
        """Finish the file and give it its name; returns it. Raises :class:`AudioError`."""
        self._require_open()
        if self.num_samples == 0:
            self.abort()
            raise AudioError("has no samples, so there is nothing to write", path=self.path)
        self._encode(self._resampler.finish())
        try:
            self._encoder.close()
            self._part.replace(self.path)
        except (*_WRITE_ERRORS, AudioError) as error:
            self.abort()
            raise self._failure(error) from error
        self._is_open = False
        return self.path

    def abort(self) -> None:
        """Delete what was written so far; harmless after :meth:`commit`."""
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(*_WRITE_ERRORS):  # a full disk; the file goes anyway
            self._encoder.discard()
        self._part.unlink(missing_ok=True)

    def _encode(self, block: np.ndarray) -> None:
        if not block.shape[1]:
            return
        samples = block.T if self._integer_bits is None else self._as_integers(block.T)
        try:
            self._encoder.write(samples)
        except _WRITE_ERRORS as error:
            self.abort()
            raise self._failure(error) from error

    def _as_integers(self, samples: np.ndarray) -> np.ndarray:
        """Round to ``bits`` and align left in 32; count what is beyond full scale."""
        bits = self._integer_bits
        assert bits is not None
        self.clipped_samples += int(np.count_nonzero(np.abs(samples) > 1.0))
        full_scale = float(1 << (bits - 1))
        scaled = np.rint(np.clip(samples, -1.0, 1.0) * np.float32(full_scale))
        integers = np.minimum(scaled, full_scale - 1).astype(np.int32)
        return np.left_shift(integers, 32 - bits)

    def _require_open(self) -> None:
        if not self._is_open:
            raise AudioError("was committed or aborted already; open a new writer", path=self.path)

    def _failure(self, error: BaseException) -> AudioError:
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        return AudioError(
            f"cannot be written ({reason}); check the free space and the permissions of "
            f"{self.path.parent}",
            path=self.path,
        )


_WRITE_ERRORS = (OSError, av.error.FFmpegError, soundfile.LibsndfileError)


def open_writer(
    path: str | Path,
    *,
    format: OutputFormat,
    sample_rate: int,
    num_channels: int,
    tags: Tags | None = None,
    expected_samples: int | None = None,
) -> AudioWriter:
    """Start to write an audio file; its folder is made if it is missing.

    ``sample_rate`` (Hz) is the rate of the blocks to come. Formats that cannot hold it get
    the next rate above that they can, or their highest. ``expected_samples`` tells a WAV
    whether it may outgrow 4 GiB. Raises :class:`AudioError` if the file cannot be made or the
    format cannot hold so many channels.
    """
    path = Path(path)
    traits = _traits(format.name)
    if not 1 <= num_channels <= traits.max_channels:
        raise AudioError(
            f"{format.name} is written with 1 to {traits.max_channels} channels, the audio has "
            f"{num_channels}; choose wav or mix it down",
            path=path,
        )
    if sample_rate <= 0:
        raise AudioError(f"the sample rate must be positive, got {sample_rate} Hz", path=path)
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(
            f"its folder cannot be made ({error.strerror}); choose another", path=path
        ) from error
    if path.is_dir():
        raise AudioError("is a folder; choose another name for the file", path=path)
    rate = written_rate(format, sample_rate)
    if expected_samples is not None:
        expected_samples = resampled_length(
            expected_samples, from_rate_hz=sample_rate, to_rate_hz=rate
        )
    target = _Target(
        path=part,
        format=format,
        sample_rate=rate,
        num_channels=num_channels,
        tags=tags or Tags(),
        expected_samples=expected_samples,
    )
    return AudioWriter(target, final_path=path, from_rate_hz=sample_rate)


def written_rate(format: OutputFormat, sample_rate: int) -> int:
    """Return the rate in Hz that the file will have: the next above, or the highest, if need be."""
    traits = _traits(format.name)
    if traits.sample_rates is None:
        return min(sample_rate, traits.max_rate_hz)
    return next((r for r in traits.sample_rates if r >= sample_rate), traits.sample_rates[-1])


def encoded_size_estimate(
    format: OutputFormat, sample_rate: int, num_channels: int, num_samples: int
) -> int:
    """Return about how many bytes the file will have; rather too many than too few.

    For FLAC it is the size before compression, for Ogg Vorbis twice its usual rate.
    """
    rate = written_rate(format, sample_rate)
    if format.bits is not None:
        return num_samples * num_channels * format.bits // 8 + _CONTAINER_BYTES
    seconds = resampled_length(num_samples, from_rate_hz=sample_rate, to_rate_hz=rate) / rate
    kbps = format.kbps or 640 * VORBIS_QUALITY * num_channels / 2
    return int(seconds * kbps * 1000 / 8 * 1.05) + _CONTAINER_BYTES


def _traits(name: str) -> FormatTraits:
    if name not in WRITERS:
        raise ConfigError(f"there is no format {name!r}; choose one of {', '.join(WRITERS)}")
    return WRITERS[name]


def _rate_note(name: str, from_rate_hz: int, to_rate_hz: int) -> str | None:
    if from_rate_hz == to_rate_hz:
        return None
    if from_rate_hz > to_rate_hz:
        return f"{name} carries at most {to_rate_hz} Hz: written at {to_rate_hz} Hz"
    return f"{name} does not carry {from_rate_hz} Hz: written at {to_rate_hz} Hz"
