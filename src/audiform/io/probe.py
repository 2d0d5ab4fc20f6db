"""What an audio file says of itself, read from its head; nothing is decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import av
import soundfile

from audiform.errors import AudioError
from audiform.io.id3 import id3_end
from audiform.io.mp4_boxes import movie_timescale, tempo_bpm
from audiform.io.mpeg_frames import read_header
from audiform.io.tags import Tags, tags_of

#: Bits per sample by codec, where the codec says how many: FFmpeg's name or libsndfile's.
_BIT_DEPTHS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64,
    "ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32,
}  # fmt: skip
_LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "tta", "ape")

#: Formats of FFmpeg that open other files or the network; a song has no business to.
_PLAYLISTS = frozenset({"hls", "concat", "dash", "sdp", "rtsp", "lavfi", "imf", "mpjpeg"})

#: soundfile's name of a codec -> the one that FFmpeg and the rest of the world use.
_SNDFILE_CODECS = {
    "PCM_S8": "pcm_s8", "PCM_U8": "pcm_u8", "PCM_16": "pcm_s16", "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32", "FLOAT": "pcm_f32", "DOUBLE": "pcm_f64", "VORBIS": "vorbis",
}  # fmt: skip

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_LAYOUTS = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself.

    ``sample_rate`` in Hz. ``num_samples`` (per channel) is what the header promises, None
    where it does not say exactly. ``bit_depth`` is None for lossy codecs. ``stream`` counts the
    audio streams of the file from 0.
    """

    path: Path
    container: str
    codec: str
    sample_rate: int
    num_channels: int
    channel_layout: str
    num_samples: int | None
    bit_depth: int | None
    is_float: bool
    tags: Tags
    stream: int = 0

    @property
    def duration_seconds(self) -> float | None:
        """Length in seconds, None where the header does not say exactly."""
        return None if self.num_samples is None else self.num_samples / self.sample_rate


def probe(path: str | Path, *, stream: int = 0) -> AudioInfo:
    """Return what the file says of itself, of the audio stream ``stream`` where it has several.

    Raises :class:`AudioError` if there is no such file, or none with such a stream in it.
    """
    path = Path(path)
    check_readable(path)
    if stream == 0 and is_for_soundfile(path):
        return _probe_soundfile(path)
    _refuse_text(path)  # FFmpeg takes a name's ending at its word
    return _probe_pyav(path, stream)


def check_readable(path: Path) -> None:
    """Raise :class:`AudioError` unless ``path`` is a file with something in it that we may read."""
    try:
        if path.is_dir():
            raise AudioError("is a folder, not a file; name the audio files in it", path=path)
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise AudioError("no such file; check the name and the folder", path=path) from None
    except PermissionError:
        raise AudioError(
            "may not be read (permission denied); change its permissions or owner", path=path
        ) from None
    except OSError as error:
        raise AudioError(
            f"cannot be opened ({os.strerror(error.errno or 0)}); check the path and the disk",
            path=path,
        ) from error
    if size == 0 and path.is_file():
        raise AudioError("is empty (0 bytes); copy or download it again", path=path)


def is_for_soundfile(path: Path) -> bool:
    """Whether libsndfile reads this file: PCM, FLAC and Ogg Vorbis, told by content."""
    with path.open("rb") as file:
        file.seek(id3_end(file))  # some put one before FLAC, too
        head = file.read(64)
    if head[:4] == b"OggS":
        return b"\x01vorbis" in head and _opens_in_soundfile(path)
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC"):
        return False
    # libsndfile takes a size of 0, which means "unknown" in a piped WAV, at its word.
    was_piped = head[:4] == b"RIFF" and head[4:8] in (bytes(4), b"\xff\xff\xff\xff")
    return _opens_in_soundfile(path, at_least=1 if was_piped else 0)


def _opens_in_soundfile(path: Path, *, at_least: int = 0) -> bool:
    try:
        with soundfile.SoundFile(path) as file:
            return file.subtype in _SNDFILE_CODECS and file.frames >= at_least
    except soundfile.LibsndfileError:
        return False


def open_container(path: Path) -> av.container.InputContainer:
    """Open ``path`` with PyAV; raises :class:`AudioError` if it is no media file."""
    try:
        container = av.open(
            # "file:" and the absolute path: a name such as "live: 1.mp3" is no protocol.
            f"file:{path.absolute()}",
            mode="r",
            metadata_errors="replace",
            options={"protocol_whitelist": "file"},
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{_describe(path)}; give an audio or video file", path=path) from error
    if _PLAYLISTS.intersection(container.format.name.split(",")):
        container.close()
        raise AudioError("is a playlist, not an audio file; name the files in it", path=path)
    return container


def audio_stream(
    container: av.container.InputContainer, path: Path, index: int = 0
) -> av.AudioStream:
    """Return an audio stream, counted from 0; raises :class:`AudioError` if there is none."""
    if not container.streams.audio:
        kinds = sorted({f"{s.type} ({_codec_name(s)})" for s in container.streams}) or ["nothing"]
        raise AudioError(
            f"holds no audio, found {', '.join(kinds)} in a file of type "
            f"{container.format.name}; give an audio file, or a video with sound",
            path=path,
        )
    if index >= len(container.streams.audio):
        raise AudioError(
            f"audio stream {index + 1} was asked for, the file has {len(container.streams.audio)}; "
            "give a file with a stream per stem",
            path=path,
        )
    stream = container.streams.audio[index]
    if stream.codec_context is None:
        raise AudioError(
            "the audio is in a codec that is not known here, or the file is damaged; "
            "convert it to FLAC or WAV",
            path=path,
        )
    if not stream.rate or not stream.codec_context.layout.nb_channels:
        raise AudioError(
            f"the audio stream ({_codec_name(stream)}) names no sample rate or no channels; "
            "the file is damaged, convert or download it again",
            path=path,
        )
    return stream


def _codec_name(stream: av.stream.Stream) -> str:
    return getattr(stream.codec_context, "name", None) or "unknown codec"


def _describe(path: Path) -> str:
    """Say what a file that no decoder knows begins with."""
    if path.suffix.lower() in (".m4a", ".mp4", ".mov", ".m4v"):
        return "is no complete MP4 file (its index is missing or damaged: cut short?)"
    with path.open("rb") as file:
        head = file.read(8)
    return f"is no audio file that we know, or a damaged one (it begins with {head.hex(' ')})"


def _refuse_text(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(256)
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 256 else "ignore")
    except UnicodeDecodeError:
        return
    is_whole = 4 * len(text) >= len(head) - 3  # not if most of it was left out
    if text and is_whole and all(char.isprintable() or char in "\r\n\t" for char in text):
        raise AudioError(
            f"is text, not audio (it begins with {text[:20]!r}); give an audio or video file",
            path=path,
        )


def _probe_soundfile(path: Path) -> AudioInfo:
    with soundfile.SoundFile(path) as file:
        layout = _LAYOUTS.get(file.channels, f"{file.channels} channels")
        subtype, container = file.subtype, file.format.lower()
        rate, channels, frames = file.samplerate, file.channels, file.frames
    if container in ("wavex", "rf64"):
        container = "wav" if container == "wavex" else container
    codec = "flac" if container == "flac" else _SNDFILE_CODECS[subtype]
    return AudioInfo(
        path=path,
        container=container,
        codec=codec,
        sample_rate=rate,
        num_channels=channels,
        channel_layout=layout,
        num_samples=frames if 0 < frames < 2**62 else None,
        bit_depth=_BIT_DEPTHS.get(subtype),
        is_float=subtype in ("FLOAT", "DOUBLE"),
        tags=_tags_beside(path),
    )


def _tags_beside(path: Path) -> Tags:
    """Tags of a file that soundfile decodes; none if FFmpeg cannot open it."""
    try:
        with open_container(path) as container:
            return tags_of(container)
    except (AudioError, av.error.FFmpegError):
        return Tags()


def _probe_pyav(path: Path, index: int) -> AudioInfo:
    with open_container(path) as container:
        stream = audio_stream(container, path, index)
        context = stream.codec_context
        codec = context.name.removesuffix("float")
        is_mp4 = container.format.name == MP4
        sample_format = context.format.name if context.format else ""
        return AudioInfo(
            path=path,
            container=_container_name(container.format.name, path),
            codec=codec,
            sample_rate=stream.rate,
            num_channels=context.layout.nb_channels,
            channel_layout=_LAYOUTS.get(context.layout.nb_channels, context.layout.name),
            num_samples=_promised_samples(container, stream, path),
            bit_depth=_bit_depth(codec, context),
            is_float=sample_format[:3] in ("flt", "dbl") and codec.startswith("pcm_"),
            tags=_with_tempo(tags_of(container), path) if is_mp4 else tags_of(container),
            stream=index,
        )


def _with_tempo(tags: Tags, path: Path) -> Tags:
    tempo = tempo_bpm(path)
    if tempo is None or "bpm" in tags.text:
        return tags
    return replace(tags, text={**tags.text, "bpm": str(tempo)})


def _container_name(ffmpeg_name: str, path: Path) -> str:
    names = ffmpeg_name.split(",")
    suffix = path.suffix.lower().lstrip(".")
    if suffix in names:
        return suffix
    return "m4a" if ffmpeg_name == MP4 else names[0]


def _bit_depth(codec: str, context: av.AudioCodecContext) -> int | None:
    if not codec.startswith(_LOSSLESS) or codec in ("pcm_mulaw", "pcm_alaw"):
        return None
    if codec == "alac" and context.extradata and len(context.extradata) >= 18:
        return context.extradata[17]  # magic cookie: size, 'alac', version, frame length, ..., bits
    return context.format.bits if context.format else None


def _promised_samples(
    container: av.container.InputContainer, stream: av.AudioStream, path: Path
) -> int | None:
    """Return the length in samples where the container says it to the sample."""
    if container.format.name == "mp3":
        with path.open("rb") as file:
            mp3 = read_header(file)
        return None if mp3 is None else mp3.num_samples
    if stream.duration is None or stream.time_base is None:
        return None
    samples = stream.duration * stream.time_base * stream.rate
    if container.format.name == "ogg" and stream.codec_context.name in ("opus", "libopus"):
        header = stream.codec_context.extradata or b""
        return round(samples) - int.from_bytes(header[10:12], "little")  # the pre-skip
    if container.format.name == MP4:
        timescale = movie_timescale(path)
        exact = timescale is not None and timescale % stream.rate == 0
        return round(samples) if exact else None
    return None
