"""``Separator``: a model, ready to take tracks apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiform.audio import Audio
from audiform.checkpoints import CheckpointHeader, Member, ModelPackage, resolve
from audiform.checkpoints.checksum import sha256_of
from audiform.dsp.level import Normalisation
from audiform.errors import ConfigError
from audiform.inference.backends.choice import BackendChooser, ChosenBackend, check_names
from audiform.inference.device import ChosenDevice, choose_device
from audiform.inference.engine import ProgressCallback, SegmentRunner, SegmentStream
from audiform.inference.ensemble import StreamMean, shift_delays
from audiform.inference.file_job import OutputOptions, separate_file_to
from audiform.inference.memory import fit_into, gpu_batch_size
from audiform.inference.pipeline import StemBlock, separate_blocks
from audiform.inference.quality import find_quality
from audiform.inference.scratch import ScratchFile
from audiform.inference.stems import Stems
from audiform.inference.track import (
    FileTrack,
    MemoryTrack,
    Track,
    TrackScan,
    scan_track,
    to_model_channels,
)
from audiform.inference.vocal_free import keeping_vocal_free
from audiform.inference.windows import WindowPlan, plan_windows
from audiform.protocols import SeparationModel, SeparationSpec

#: Segments run at once on Apple's GPUs unless told otherwise; halved when memory is short.
MPS_BATCH_SIZE = 4


class _LoadedMember(NamedTuple):
    runner: SegmentRunner
    plan: WindowPlan
    chosen: ChosenBackend


class Separator:
    """Takes songs apart with one model, any number of them, of any length.

    ``model`` is a name (``audiform models list``), the path of a checkpoint, or a network.
    ``device`` is auto, cpu, cuda, cuda:N or mps. ``segment_seconds`` and ``overlap`` (a share
    of the segment) replace the model's own; ``split=False`` gives the whole track to the model
    as one segment, if that can take it. ``shifts`` > 0 averages over that many passes
    with the track delayed by up to half a second, drawn from ``seed`` (where segments are
    cropped, with their borders moved by as much); ``shifts="half"`` over two, the borders of the
    second half a segment from those of the first. ``batch_size`` segments run at once,
    ``num_workers`` such batches side by side; neither changes the result. ``backend`` (torch,
    openvino, auto) runs the networks, in ``precision`` (fp32, bf16, fp16, auto); torch in fp32 is
    the reference, and auto finds out what is fastest here and
    at least 35 dB from it (:mod:`audiform.inference.backends.choice`). ``quality`` (fast,
    balanced, best) stands for an overlap, shifts and a precision
    (:mod:`audiform.inference.quality`), each of which can be given instead; None is the
    reference. ``max_memory_mb`` is what the process may hold at most, on the CPU. ``repo`` is a
    folder with checkpoints to look names up in; ``offline`` forbids downloads.
    ``restore_offset`` adds the mean of the mixture to every stem, as Demucs does; otherwise it is
    in none of them, and stems sum up. ``on_download`` is told bytes done and bytes in all.

    Raises :class:`CheckpointError`, :class:`DeviceError` and :class:`ConfigError`.
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "default",
        *,
        device: str = "auto",
        segment_seconds: float | None = None,
        split: bool = True,
        overlap: float | None = None,
        shifts: int | Literal["half"] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        num_workers: int = 1,
        backend: str = "torch",
        precision: str | None = None,
        quality: str | None = None,
        max_memory_mb: float | None = None,
        repo: Path | None = None,
        offline: bool = False,
        restore_offset: bool = False,
        on_download: Callable[[int, int | None], None] | None = None,
    ) -> None:
        if (batch_size is not None and batch_size < 1) or num_workers < 1:
            raise ConfigError(
                f"batch size and workers must be 1 or more, got {batch_size} and {num_workers}"
            )
        settings = find_quality(quality)
        shifts = settings.shifts if shifts is None else shifts
        self._join_share = settings.join_share
        self._backend, self._precision = backend, precision or settings.precision
        check_names(self._backend, self._precision)
        self._max_memory_mb = max_memory_mb
        self.device: ChosenDevice = choose_device(device)
        self._members: tuple[Member | nn.Module, ...]
        self.weights: Sequence[Sequence[float]] | None = None
        self._bag_segment: float | None = None
        if isinstance(model, nn.Module):
            self.name = type(model).__name__.lower()
            self._members = (model,)
        else:
            package: ModelPackage = resolve(
                model, repo=repo, offline=offline, on_progress=on_download
            )
            self.name = package.name
            self._members = package.members
            self.weights = package.weights
            self._bag_segment = package.segment_seconds
        self._segment_seconds = segment_seconds
        self._split = split
        self._overlap = overlap
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._restore_offset = restore_offset
        self._keeps_vocal_free = False
        self._loaded: dict[int, _LoadedMember] = {}
        stated = self._stated()
        self.sources: tuple[str, ...] = getattr(stated, "sources", ())
        if not self.sources:
            raise ConfigError(
                f"{self.name!r} is an effect and takes nothing apart; give the name of a "
                "separator (`audiform models list`)"
            )
        if getattr(stated, "is_pretrained", False):
            raise ConfigError(
                f"{self.name!r} is pretrained and takes nothing apart yet; train it on songs with "
                f"stems first: audiform train frame-primer-small --from {model} --data SONGS"
            )
        self.sample_rate: int = stated.sample_rate
        self._half_shift = shifts == "half"
        self._delays = shift_delays(
            0 if shifts == "half" else shifts, sample_rate=self.sample_rate, seed=seed
        )
        if self.weights is None:
            self.weights = [[1.0] * len(self.sources)] * len(self._members)
        if len(self._members) == 1:
            self.load()

    def _stated(self) -> CheckpointHeader | SeparationSpec:
        """Return what the first member says of itself; no weights are read for that."""
        first = self._members[0]
        return first.header() if isinstance(first, Member) else cast(SeparationModel, first).spec

    @property
    def spec(self) -> SeparationSpec:
        """What one member says of itself, loaded if none is yet; the others must agree."""
        return self._member(next(iter(self._loaded), 0)).runner.model.spec

    @property
    def num_members(self) -> int:
        """Number of networks whose results are averaged."""
        return len(self._members)

    def _member(self, index: int) -> _LoadedMember:
        """Load a member on first use: a bag may never need some."""
        if index not in self._loaded:
            source = self._members[index]
            module = source if isinstance(source, nn.Module) else source.load()
            if self._keeps_vocal_free:
                module = keeping_vocal_free(module, name=self.name)
            self._loaded[index] = self._ready(index, module)
        return self._loaded[index]

    def _ready(self, index: int, module: nn.Module) -> _LoadedMember:
        network = cast(SeparationModel, module.eval().to(self.device.device))
        own = network.spec
        self._check_kind(index, own)
        plan = plan_windows(
            network,
            segment_samples=self._segment_samples(own),
            overlap=self._overlap,
            join_share=self._join_share,
        )
        chosen = self._choose_backend(self._members[index], network, plan)
        runner = SegmentRunner(
            network,
            device=self.device.device,
            backend=chosen.backend,
            batch_size=self._batch_size or 1,
            num_workers=self._num_workers,
        )
        self._size(runner, plan.history_samples)
        return _LoadedMember(runner, plan, chosen)

    def keep_vocal_free(self) -> None:
        """From now on leave stretches in which nobody sings as they are in the mixture.

        For networks of one mask (:mod:`audiform.dsp.vocal_free`); raises :class:`ConfigError`
        for others.
        """
        self._keeps_vocal_free = True
        for index, member in list(self._loaded.items()):
            network = cast(nn.Module, member.runner.model)
            self._loaded[index] = self._ready(index, keeping_vocal_free(network, name=self.name))

    def _choose_backend(
        self, source: Member | nn.Module, network: SeparationModel, plan: WindowPlan
    ) -> ChosenBackend:
        """Return what runs the network; what was found for a checkpoint is kept for it."""
        is_free = "auto" in (self._backend, self._precision) or self._backend == "openvino"
        identity = sha256_of(source.path) if is_free and isinstance(source, Member) else None
        if identity is not None and self._keeps_vocal_free:
            identity += " keeping vocal-free stretches"
        return BackendChooser(
            network,
            device=self.device.device,
            segment_samples=plan.history_samples,
            backend=self._backend,
            precision=self._precision,
            identity=identity,
            num_workers=self._num_workers,
        ).choose()

    def _size(self, runner: SegmentRunner, segment_samples: int) -> None:
        """Set how many segments are run at once, where memory has a say in it."""
        if self._batch_size is None and self.device.device.type == "cuda":
            runner.batch_size = gpu_batch_size(runner, segment_samples=segment_samples)
        elif self._batch_size is None and self.device.device.type == "mps":
            runner.batch_size = MPS_BATCH_SIZE
        if self._max_memory_mb is not None:
            fit_into(self._max_memory_mb, runner, segment_samples=segment_samples)

    @property
    def backends(self) -> tuple[ChosenBackend, ...]:
        """What runs the networks that are loaded so far, and why."""
        return tuple(member.chosen for _, member in sorted(self._loaded.items()))

    def _check_kind(self, index: int, own: SeparationSpec) -> None:
        """Refuse a member that is of another kind than those that are loaded."""
        channels = self.spec.audio_channels if self._loaded else own.audio_channels
        if (own.sources, own.sample_rate, own.audio_channels) != (
            self.sources,
            self.sample_rate,
            channels,
        ):
            raise ConfigError(
                f"member {index + 1} of {self.name!r} separates {', '.join(own.sources)} at "
                f"{own.sample_rate} Hz in {own.audio_channels} channels, the others "
                f"{', '.join(self.sources)} at {self.sample_rate} Hz in {channels}; a bag needs "
                "members of one kind"
            )

    def load(self, needed: Sequence[bool] | None = None) -> None:
        """Load the members that count for the ``needed`` sources (all) now.

        Otherwise the members of a bag are loaded when they are first used.
        """
        for index in self._counting(needed):
            self._member(index)

    def _counting(self, needed: Sequence[bool] | None) -> list[int]:
        """Return the members with a weight for a needed source."""
        assert self.weights is not None
        wanted = needed if needed is not None and any(needed) else [True] * len(self.sources)
        return [
            index
            for index, shares in enumerate(self.weights)
            if any(share and want for share, want in zip(shares, wanted, strict=True))
        ]

    def _segment_samples(self, spec: SeparationSpec) -> int | None:
        """Return the segment for a member: as asked for, else the bag's if it fits, else None."""
        if self._segment_seconds is not None:
            return int(self._segment_seconds * spec.sample_rate)
        if self._bag_segment is None:
            return None
        samples = int(self._bag_segment * spec.sample_rate)
        return None if spec.fixed_segment and samples > spec.segment_samples else samples

    def _plan(self, member: _LoadedMember, whole_samples: int | None) -> WindowPlan:
        """Return a member's plan, or one segment of ``whole_samples`` if it may be so long."""
        network = member.runner.model
        if whole_samples is None or (
            network.spec.fixed_segment and whole_samples <= network.spec.segment_samples
        ):
            return member.plan
        return plan_windows(network, segment_samples=whole_samples, overlap=0)

    def _passes(
        self, member: _LoadedMember, num_samples: int | None
    ) -> Iterator[tuple[WindowPlan, int]]:
        """Give the plan of each pass, and how many zeros it puts before the track.

        That is how Demucs shifts; where inputs are whole, the borders are moved instead.
        """
        for delay in self._delays:
            whole = None if self._split or num_samples is None else num_samples + delay
            plan = self._plan(member, whole)
            yield (plan.shifted(delay), 0) if plan.whole_inputs else (plan, delay)
        if self._half_shift and self._split:  # one segment has no borders to shift
            yield member.plan.half_shifted(), 0

    def _open_stream(
        self,
        normalisation: Normalisation,
        *,
        needed: Sequence[bool] | None = None,
        num_samples: int | None = None,
    ) -> StreamMean:
        """Start a stream for every member that counts for a needed source, and every shift.

        With ``split=False`` a track of ``num_samples`` (at the model's rate) is one segment.
        """
        assert self.weights is not None
        streams, weights = [], []
        for index in self._counting(needed):
            member = self._member(index)
            for plan, delay in self._passes(member, num_samples):
                streams.append(
                    SegmentStream(
                        member.runner,
                        plan,
                        normalisation=normalisation,
                        restore_offset=self._restore_offset,
                        delay_samples=delay,
                    )
                )
                weights.append(self.weights[index])
        return StreamMean(streams, weights)

    def scan(self, track: Track) -> TrackScan:
        """Read a track once, for its length, level and faults, without running the network."""
        return scan_track(track, self.spec)

    def blocks(
        self,
        track: Track,
        scan: TrackScan,
        *,
        output_rate: int | None = None,
        needed: Sequence[bool] | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[StemBlock]:
        """Separate a scanned track; the building block of all other methods.

        ``output_rate`` is the track's own unless given. Of sources that are not ``needed``,
        the blocks may hold anything. ``on_progress`` is told samples done and in all.
        """
        return separate_blocks(
            track.blocks(),
            self._open_stream(scan.normalisation, needed=needed, num_samples=scan.model_samples),
            self.spec,
            num_channels=track.num_channels,
            sample_rate=track.sample_rate,
            output_rate=output_rate or track.sample_rate,
            num_samples=scan.num_samples,
            on_progress=on_progress,
        )

    def separate(self, audio: Audio, *, on_progress: ProgressCallback | None = None) -> Stems:
        """Take audio in memory apart; the stems have its rate, channels and length."""
        return self._separate(MemoryTrack(audio), on_progress)

    def separate_file(
        self, path: str | Path, *, on_progress: ProgressCallback | None = None
    ) -> Stems:
        """Take a file apart; the stems have its rate, channels and length.

        Raises :class:`AudioError` for a file that cannot be read to its end.
        """
        return self._separate(FileTrack(path), on_progress)

    def _separate(self, track: Track, on_progress: ProgressCallback | None) -> Stems:
        scan = self.scan(track)
        scratch = ScratchFile(len(self.sources) * track.num_channels)
        try:
            for block in self.blocks(track, scan, on_progress=on_progress):
                scratch.append(block.stems.reshape(scratch.num_rows, -1))
        except BaseException:
            scratch.close()
            raise
        return Stems(
            self.sources,
            scratch,
            sample_rate=track.sample_rate,
            num_channels=track.num_channels,
        )

    def stream(
        self, blocks: Iterable[Float[Tensor, "channels time"]], *, sample_rate: int
    ) -> Iterator[dict[str, Float[Tensor, "channels time"]]]:
        """Separate blocks as they come, of any sizes; yields stems in step, never rescaled.

        The end of the track is not known here, so its level is taken from the first segment
        instead of the whole, which changes results slightly where the level changes. All
        that comes out is as long as all that went in; it lags by about a segment.
        """
        iterator = (block.detach().cpu().float().numpy() for block in blocks)
        wanted = self.spec.segment_samples * sample_rate // self.spec.sample_rate + 1
        first: list[np.ndarray] = []
        gathered = 0
        for block in iterator:
            first.append(block)
            gathered += block.shape[1]
            if gathered >= wanted:
                break
        if gathered == 0:
            return
        statistic = self.spec.statistic
        for block in first:
            adapted = to_model_channels(block, audio_channels=self.spec.audio_channels)
            statistic = statistic.update(torch.from_numpy(adapted))

        def all_blocks() -> Iterator[np.ndarray]:
            yield from first
            yield from iterator

        for part in separate_blocks(
            all_blocks(),
            self._open_stream(statistic.normalisation()),
            self.spec,
            num_channels=len(first[0]),
            sample_rate=sample_rate,
            output_rate=sample_rate,
        ):
            yield {
                name: torch.from_numpy(stem)
                for name, stem in zip(self.sources, part.stems, strict=True)
            }

    def separate_to_files(
        self,
        path: str | Path,
        out: str | Path,
        *,
        format: str = "wav",
        on_progress: ProgressCallback | None = None,
        **options: object,
    ) -> dict[str, Path]:
        """Take a file apart into files ``out/<stem>.<extension>``, in constant memory.

        ``options`` are those of :class:`~audiform.inference.file_job.OutputOptions`: two_stems,
        residual, bit_depth, rate, clip_mode and so on. Returns stem name -> path.
        """
        chosen = OutputOptions(format=format, **options)  # type: ignore[arg-type]
        written = separate_file_to(self, Path(path), Path(out), chosen, on_progress=on_progress)
        return written.paths
