"""What all runs of a series have in common, so that arms differ in one thing only."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from audiform.dsp.stft import StftSpec

#: An eighth of 44.1 kHz: frames and bins as described, of the bins the lowest eighth. All that
#: a run of half a minute on one core has time for.
SAMPLE_RATE = 5512
SPECTRUM = StftSpec(n_fft=256, hop_length=128)


class Settings(BaseModel):
    """Length and material of each run.

    - ``steps`` are supervised ones, the same for every arm; ``pretraining_steps`` come before
      them where an arm is pretrained.
    - ``crop_frames``: frames that a network sees, of 23 ms.
    - ``remix_share`` of the crops get the voice of another place, often of another song.
    - Scored are ``known_seconds`` out of the middle of every song that is trained on, which
      are left out in training, and ``held_out_seconds`` of the song ``held_out``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt = 300
    pretraining_steps: PositiveInt = 300
    batch_size: PositiveInt = 4
    crop_frames: int = Field(64, ge=32, multiple_of=2)
    learning_rate: PositiveFloat = 3e-3
    warmup_steps: NonNegativeInt = 20
    validate_every: PositiveInt = 60
    remix_share: float = Field(0.5, ge=0, le=1)
    held_out: str
    known_seconds: PositiveFloat = 20.0
    held_out_seconds: PositiveFloat = 30.0
