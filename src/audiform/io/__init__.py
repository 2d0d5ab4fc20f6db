"""Reading and writing audio files, block by block, in constant memory."""

from audiform.io.paths import (
    InputFile,
    Inputs,
    expand_inputs,
    free_bytes,
    safe_name,
    unique_names,
)
from audiform.io.probe import AudioInfo, probe
from audiform.io.read import AudioReader, read
from audiform.io.resample import StreamResampler, resampled_length
from audiform.io.tags import Cover, Tags
from audiform.io.write import (
    WRITERS,
    AudioWriter,
    OutputFormat,
    encoded_size_estimate,
    open_writer,
    written_rate,
)

__all__ = [
    "WRITERS",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "Cover",
    "InputFile",
    "Inputs",
    "OutputFormat",
    "StreamResampler",
    "Tags",
    "encoded_size_estimate",
    "expand_inputs",
    "free_bytes",
    "open_writer",
    "probe",
    "read",
    "resampled_length",
    "safe_name",
    "unique_names",
    "written_rate",
]
