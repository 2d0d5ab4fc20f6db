"""Change of sample rate block by block, with a length that is known beforehand.

soxr at its "VHQ" quality. The pieces, joined, are what ``soxr.resample`` gives for the
whole signal in one call (tested), so a long file costs no more memory than one block.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import soxr

from audiform.errors import AudioError

#: 28 bits of precision: the error stays below what 24-bit PCM can hold.
QUALITY = "VHQ"

Block = np.ndarray


def resampled_length(num_samples: int, *, from_rate_hz: int, to_rate_hz: int) -> int:
    """Return the length of ``num_samples`` after resampling: rounded half up, at least 1.

    It is soxr's own rule, but for very short signals, of which soxr leaves nothing:
    here no signal becomes empty, and an empty one stays so.

    >>> resampled_length(441, from_rate_hz=44100, to_rate_hz=48000)
    480
    """
    if num_samples <= 0:
        return 0
    doubled = 2 * num_samples * to_rate_hz
    return max(1, (doubled + from_rate_hz) // (2 * from_rate_hz))


class StreamResampler:
    """Resamples float32 blocks (channels, time) from one rate to another, in Hz.

    All that :meth:`push` and :meth:`finish` return, joined along time, has
    ``resampled_length(total in)`` samples, or as many as ``finish`` is told. Equal rates
    pass the blocks through. Raises :class:`AudioError` for rates that are not positive.
    """

    def __init__(self, *, from_rate_hz: int, to_rate_hz: int, num_channels: int) -> None:
        if from_rate_hz <= 0 or to_rate_hz <= 0:
            raise AudioError(
                f"sample rates must be positive, got {from_rate_hz} Hz -> {to_rate_hz} Hz; "
                "check the header of the input file"
            )
        self.from_rate_hz = from_rate_hz
        self.to_rate_hz = to_rate_hz
        self.num_channels = num_channels
        self._samples_in = 0
        self._samples_out = 0
        self._stream = (
            None
            if from_rate_hz == to_rate_hz
            else soxr.ResampleStream(
                from_rate_hz, to_rate_hz, num_channels, dtype="float32", quality=QUALITY
            )
        )

    def push(self, block: Block) -> Block:
        """Take in ``block`` (channels, n); return what is ready, perhaps (channels, 0)."""
        self._samples_in += block.shape[1]
        return self._hand_out(self._resample(block, last=False))

    def finish(self, num_samples: int | None = None) -> Block:
        """Return the rest, padded with zeros or cut so that ``num_samples`` came out in all.

        Without ``num_samples`` the total is :func:`resampled_length` of what went in. What
        :meth:`push` has handed out cannot be taken back: a smaller total than that raises
        :class:`AudioError`.
        """
        if num_samples is None:
            num_samples = resampled_length(
                self._samples_in, from_rate_hz=self.from_rate_hz, to_rate_hz=self.to_rate_hz
            )
        missing = num_samples - self._samples_out
        if missing < 0:
            raise AudioError(
                f"the resampled signal was to end after {num_samples} samples, but "
                f"{self._samples_out} are out already; ask for at least as many"
            )
        rest = self._resample(np.zeros((self.num_channels, 0), np.float32), last=True)[:, :missing]
        return self._hand_out(np.pad(rest, ((0, 0), (0, missing - rest.shape[1]))))

    def _resample(self, block: Block, *, last: bool) -> Block:
        block = np.asarray(block, np.float32)
        if self._stream is None:
            return block
        interleaved = np.ascontiguousarray(block.T)
        return cast(Block, self._stream.resample_chunk(interleaved, last=last)).T

    def _hand_out(self, block: Block) -> Block:
        self._samples_out += block.shape[1]
        return block
