"""How well loudness alone tells a foreign second half, on songs of one's own.

For the next-segment task as it is, and as it would be if each piece were only normalised by its
own peak. The figure is the accuracy of the best threshold on any one measure of loudness
(``audiform.training.loudness``), chosen on one half of the pieces and counted on the other.
"""

from __future__ import annotations

from pathlib import Path

import torch
from measure import parser, report
from torch import Tensor

from audiform.audio import Audio
from audiform.dsp.stft import StftSpec, stft
from audiform.io import read
from audiform.training.loudness import loudness_measures, threshold_accuracy
from audiform.training.next_segment import (
    NextSegmentConfig,
    SpliceDraw,
    draw_splice,
    hidden_frames,
    splice,
)

SPEC = StftSpec(n_fft=2048, hop_length=1024)
HALF = 512
BATCH = 20


def magnitudes(folder: Path) -> Tensor:
    """Return (2, 1024, frames) of the sum of all files in a song's folder, as float16."""
    stems: list[Audio] = [read(path) for path in sorted(folder.iterdir()) if path.is_file()]
    length = min(stem.num_samples for stem in stems)
    mixture = torch.stack([stem.samples[:, :length].expand(2, -1) for stem in stems]).sum(dim=0)
    return stft(mixture, SPEC)[:, :-1].abs().half()


def piece(song: Tensor, generator: torch.Generator) -> Tensor:
    """Cut a piece of two halves anywhere."""
    start = int(torch.randint(song.shape[-1] - 2 * HALF + 1, (1,), generator=generator))
    return song[..., start : start + 2 * HALF].float()


def own_peak_only(own: Tensor, other: Tensor, draw: SpliceDraw) -> Tensor:
    """Splice without matching levels."""
    own, other = (piece / piece.amax(dim=(1, 2, 3), keepdim=True) for piece in (own, other))
    for item in draw.replaced.nonzero()[:, 0].tolist():
        start = int(draw.starts[item])
        own[item, ..., HALF:] = other[item, ..., start : start + HALF]
    return own


def main() -> None:
    """Measure both ways and print the strongest measures of each."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("songs", type=Path, help="a folder of songs, each a folder of stems")
    arguments.add_argument("--pieces", type=int, default=2000)
    options = arguments.parse_args()
    songs = [magnitudes(folder) for folder in sorted(options.songs.iterdir()) if folder.is_dir()]
    config, generator = NextSegmentConfig(), torch.Generator().manual_seed(0)
    hidden = hidden_frames(2 * HALF, config)
    ways = {"matched": splice, "own peak only": own_peak_only}
    measures: dict[str, list[dict[str, Tensor]]] = {way: [] for way in ways}
    replaced = []
    for _ in range(options.pieces // BATCH):
        index = torch.randint(len(songs), (BATCH,), generator=generator)
        shift = torch.randint(1, len(songs), (BATCH,), generator=generator)
        own = torch.stack([piece(songs[i], generator) for i in index])
        other = torch.stack([piece(songs[i], generator) for i in (index + shift) % len(songs)])
        draw = draw_splice(
            config, batch_size=BATCH, half_frames=HALF, other_frames=2 * HALF, generator=generator
        )
        replaced.append(draw.replaced)
        for way, function in ways.items():
            measures[way].append(loudness_measures(function(own, other, draw), hidden=hidden))
    answer = torch.cat(replaced)
    rows: dict[str, str | float] = {"pieces": len(answer), "songs": len(songs)}
    for way, batches in measures.items():
        found = {
            name: threshold_accuracy(torch.cat([batch[name] for batch in batches]), answer)
            for name in batches[0]
        }
        for name, accuracy in sorted(found.items(), key=lambda entry: -entry[1])[:3]:
            rows[f"{way}: {name}"] = accuracy
    report("accuracy of the best threshold on loudness alone", rows, options.json)


if __name__ == "__main__":
    main()
