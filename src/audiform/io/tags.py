"""What a file tells of its content: text tags and the cover picture.

Names are lower case and the same for every container (``title``, ``artist``, ``bpm``,
``isrc`` ...), so that tags read from one can be written to another. Entries about the
stream itself (encoder, brands, handlers) are dropped: they would be wrong in a new file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import av

#: Names that containers use for the same thing -> ours (FFmpeg hands ID3 and MP4 names on).
_SYNONYMS = {
    "tbpm": "bpm",
    "tmpo": "bpm",
    "tempo": "bpm",
    "tbp": "bpm",  # three letters: ID3v2.2
    "tcm": "composer",
    "trc": "isrc",
    "tsrc": "isrc",
    "year": "date",
    "tdrc": "date",
    "tracknumber": "track",
    "trck": "track",
    "discnumber": "disc",
    "albumartist": "album_artist",
    "album artist": "album_artist",
    "description": "comment",
    "tkey": "initialkey",
    "icmt": "comment",
}

#: Tags that describe the file they stand in, not the music.
_TECHNICAL = frozenset(
    {
        "encoder", "encoded_by", "encodersettings", "encoding_settings", "tsse", "tenc",
        "tss", "ten",
        "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id",
        "creation_time", "duration", "language", "software", "isft", "coding_history",
        "time_reference", "originator", "originator_reference", "origination_date",
        "origination_time", "umid", "itunsmpb", "itunnorm", "tlen", "tlan",
        "metadata_block_picture", "coverart", "wm/isvbr", "devicconformancetemplate",
        "number_of_frames", "number_of_bytes", "bps", "gapless_playback", "timecode",
        "waveformatextensible_channel_mask", "iscommercial",
    }
)  # fmt: skip

_COVER_MIME_TYPES = {
    "mjpeg": "image/jpeg", "png": "image/png", "bmp": "image/bmp", "gif": "image/gif",
    "webp": "image/webp",
}  # fmt: skip


@dataclass(frozen=True)
class Cover:
    """The front cover: the picture file's bytes, as they are, and its mime type."""

    data: bytes = field(repr=False)
    mime_type: str


@dataclass(frozen=True)
class Tags:
    """Text tags by lower-case name, and the cover if there is one."""

    text: dict[str, str] = field(default_factory=dict)
    cover: Cover | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.text) or self.cover is not None


def tags_of(container: av.container.InputContainer) -> Tags:
    """Return the tags of a container that PyAV has open; reads the cover's packet, if any."""
    metadata: dict[str, str] = {}
    for stream in container.streams.audio[:1]:
        metadata.update(stream.metadata)
    metadata.update(container.metadata)  # the container's word counts for more
    return Tags(text=normalised(metadata), cover=_cover_of(container))


def normalised(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return ``metadata`` under our names, without technical, private or empty entries."""
    text: dict[str, str] = {}
    for key, value in metadata.items():
        lower = key.strip().lower()
        name = _SYNONYMS.get(lower, lower)
        value = value.replace("\x00", "").strip()
        technical = name in _TECHNICAL or name.startswith(("_statistics", "id3v2_priv", "wm/"))
        if value and not technical and (name == lower or name not in text):
            text[name] = value
    return text


def _cover_of(container: av.container.InputContainer) -> Cover | None:
    for stream in container.streams.video:
        mime_type = _COVER_MIME_TYPES.get(stream.codec_context.name)
        if mime_type is None or not stream.disposition & av.stream.Disposition.attached_pic:
            continue
        with contextlib.suppress(av.error.FFmpegError):  # a damaged picture is no picture
            for packet in container.demux(stream):
                if packet.size:
                    return Cover(data=bytes(packet), mime_type=mime_type)
    return None
