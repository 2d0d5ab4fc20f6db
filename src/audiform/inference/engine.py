"""Any model over audio of any length: blocks in, blocks out.

A :class:`SegmentStream` holds no more than a few segments, whatever the length of the track.
For the same segment and overlap it equals Demucs' ``apply_model``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.level import Normalisation
from audiform.errors import DeviceError
from audiform.inference.backends.torch_eager import TorchBackend
from audiform.inference.windows import Window, WindowPlan
from audiform.protocols import Backend, SeparationModel

#: Called with (samples done, samples to do or None); raise ``Cancelled`` from it to stop.
ProgressCallback = Callable[[int, int | None], None]


class SegmentRunner:
    """Runs a model on batches of segments on its device, and on half of them when memory is short.

    ``batch_size`` segments are run at once, ``num_workers`` such batches side by side on the
    CPU. Both change speed and memory, not the result. ``backend`` runs the model's core; without
    one torch does, in float32.
    """

    def __init__(
        self,
        model: SeparationModel,
        *,
        device: torch.device,
        backend: Backend | None = None,
        batch_size: int = 1,
        num_workers: int = 1,
    ) -> None:
        self.model = model
        self.device = device
        self.backend: Backend = backend or TorchBackend(model, device=device)
        self.batch_size = batch_size
        self.num_workers = num_workers

    @property
    def segments_at_once(self) -> int:
        """How many segments are worth gathering before a run."""
        return self.batch_size * self.num_workers

    def __call__(
        self, segments: Sequence[Float[Tensor, "channels _time"]]
    ) -> list[Float[Tensor, "sources channels _time"]]:
        """Return the stems of each segment, on the CPU; segments may differ in length."""
        batches = list(_batches_of_one_length(segments, self.batch_size))
        if self.num_workers > 1 and len(batches) > 1:
            with ThreadPoolExecutor(self.num_workers) as pool:
                results = list(pool.map(self._run, batches))
        else:
            results = [self._run(batch) for batch in batches]
        return [stems for batch in results for stems in batch]

    @torch.inference_mode()
    def _run(
        self, segments: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        try:
            analysis = self.model.analyse(self._to_device(segments))
            outputs = self.backend(*analysis.inputs)
            return self.model.synthesise(outputs, analysis).float().cpu()
        except torch.OutOfMemoryError as error:
            if len(segments) == 1:
                raise DeviceError(
                    f"one segment of {segments.shape[-1]} samples does not fit into the memory of "
                    f"{self.device}; choose a shorter --segment, close other programs that use "
                    "the device, or use --device cpu"
                ) from error
        half = len(segments) // 2
        self.batch_size = max(1, min(self.batch_size, half))
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return torch.cat([self._run(segments[:half]), self._run(segments[half:])])

    def _to_device(self, segments: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return segments.to(self.device)
        # from pinned memory the copy runs while the device is still at work on what went before
        return segments.pin_memory().to(self.device, non_blocking=True)


def _batches_of_one_length(
    segments: Sequence[Tensor], batch_size: int
) -> Iterator[Float[Tensor, "batch channels time"]]:
    start = 0
    while start < len(segments):
        stop = start + 1
        length = segments[start].shape[-1]
        while (
            stop < len(segments)
            and stop - start < batch_size
            and segments[stop].shape[-1] == length
        ):
            stop += 1
        yield torch.stack(tuple(segments[start:stop]))
        start = stop


class SegmentStream:
    """Separates a track that arrives in blocks.

    ``push`` takes (channels, time) and returns the stems (sources, channels, time) that are
    final by now, maybe none; ``finish`` returns the rest. All that comes out is as long as all
    that went in. The track is brought to the level that ``normalisation`` says and back;
    with ``restore_offset`` its offset is added to every stem, as Demucs does.
    ``delay_samples`` zeros are put before the track and dropped from the result, which moves
    the borders of the segments (Demucs' shifts).
    """

    def __init__(
        self,
        runner: SegmentRunner,
        plan: WindowPlan,
        *,
        normalisation: Normalisation,
        restore_offset: bool = False,
        delay_samples: int = 0,
    ) -> None:
        spec = runner.model.spec
        self._runner = runner
        self._plan = plan
        self._normalisation = normalisation
        self._restored_offset = normalisation.offset if restore_offset else 0.0
        # both are views on the track from a position on: the network's input, what came out
        self._input = torch.zeros(spec.audio_channels, delay_samples)
        self._input_start = 0
        self._total = torch.zeros(len(spec.sources), spec.audio_channels, 0)
        self._total_weight = torch.zeros(0)
        self._output_start = 0
        self._index = 0
        self._to_drop = delay_samples

    def push(
        self, block: Float[Tensor, "channels time"]
    ) -> Float[Tensor, "sources channels ready"]:
        """Take in a block; return what has become final."""
        level = self._normalisation
        self._input = torch.cat([self._input, (block - level.offset) / level.scale], dim=-1)
        known = self._input_start + self._input.shape[-1]
        windows: list[Window] = []
        while (window := self._plan.window_so_far(self._index + len(windows), known)) is not None:
            windows.append(window)
        return self._run_whole_batches(windows)

    def finish(self) -> Float[Tensor, "sources channels rest"]:
        """Return the rest; the stream is at its end."""
        known = self._input_start + self._input.shape[-1]
        rest = []
        while (window := self._plan.window(self._index, known)) is not None:
            windows = [window]
            while len(windows) < self._runner.segments_at_once:
                following = self._plan.window(self._index + len(windows), known)
                if following is None:
                    break
                windows.append(following)
            rest.append(self._run_windows(windows))
        rest.append(self._emit(known))
        return torch.cat(rest, dim=-1)

    def _run_whole_batches(self, windows: list[Window]) -> Tensor:
        size = self._runner.segments_at_once
        ready = [
            self._run_windows(windows[first : first + size])
            for first in range(0, len(windows) - size + 1, size)
        ]
        return torch.cat(ready, dim=-1) if ready else self._total[..., :0]

    def _run_windows(self, windows: list[Window]) -> Tensor:
        results = self._runner([self._input_of(window) for window in windows])
        for window, stems in zip(windows, results, strict=True):
            self._add(window, stems)
        self._index += len(windows)
        self._forget_input()
        return self._emit(self._plan.final_before(self._index))

    def _input_of(self, window: Window) -> Tensor:
        """Cut a window's input out of the track, with zeros where that ends."""
        start, stop = window.input_start - self._input_start, window.input_stop - self._input_start
        inside = self._input[:, max(0, start) : max(0, stop)]
        left = max(0, -start)
        return F.pad(inside, (left, stop - start - left - inside.shape[-1]))

    def _add(self, window: Window, stems: Tensor) -> None:
        missing = window.stop - self._output_start - self._total.shape[-1]
        if missing > 0:
            self._total = F.pad(self._total, (0, missing))
            self._total_weight = F.pad(self._total_weight, (0, missing))
        length = window.stop - window.start
        weight = self._plan.weights[window.weight_start : window.weight_start + length]
        first = window.start - window.input_start
        place = slice(window.start - self._output_start, window.stop - self._output_start)
        self._total[..., place] += weight * stems[..., first : first + length]
        self._total_weight[place] += weight

    def _forget_input(self) -> None:
        next_start = self._plan.final_before(self._index)
        passed = next_start - self._plan.history_samples - self._input_start
        if passed > 0:
            self._input = self._input[:, passed:].clone()
            self._input_start += passed

    def _emit(self, until: int) -> Tensor:
        """Hand out what lies before position ``until`` and forget it."""
        count = min(until - self._output_start, self._total.shape[-1])
        if count <= 0:
            return self._total[..., :0]
        stems = self._total[..., :count] / self._total_weight[:count]
        self._total = self._total[..., count:].clone()
        self._total_weight = self._total_weight[count:].clone()
        self._output_start += count
        dropped = min(self._to_drop, count)
        self._to_drop -= dropped
        return stems[..., dropped:] * self._normalisation.scale + self._restored_offset
