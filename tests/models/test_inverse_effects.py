"""Effects that undo something: what holds whatever they have learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiform.audio import Audio
from audiform.checkpoints.file import write_checkpoint
from audiform.errors import ConfigError
from audiform.inference.effect import Effect
from audiform.knob import HALF_RANGE
from audiform.models.frame_restorer import FrameRestorer, FrameRestorerConfig, PredictionConfig
from audiform.models.grid_aligner import LINES, OFFSET, STRENGTH, TEMPO, GridAlignerConfig
from audiform.models.grid_aligner import GridAligner as Aligner

RATE = 8000

RESTORER = FrameRestorerConfig(
    sample_rate=RATE,
    n_fft=256,
    hop_length=64,
    bands=((8, 4), (16, 4)),
    hidden_channels=8,
    num_heads=2,
    reach_frames=4,
    block_frames=8,
)
ALIGNER = GridAlignerConfig(
    sample_rate=RATE,
    n_fft=256,
    hop_length=64,
    bands=((8, 4), (16, 4)),
    hidden_channels=8,
    num_heads=2,
    num_blocks=1,
    reach_frames=4,
    threshold=0.5,
    hold_seconds=1.0,
    block_samples=4096,
)

#: Rounding of a difference of float32 signals below 1.
ROUNDING = 1e-6


def noise(*shape: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def knobs(*values: float) -> torch.Tensor:
    return torch.tensor([values])


# Taking away --------------------------------------------------------------------------------------


def restorer() -> FrameRestorer:
    torch.manual_seed(0)
    return FrameRestorer(RESTORER).eval()


def test_no_strength_gives_the_very_samples() -> None:
    dry = noise(1, 1, 5000)
    with torch.inference_mode():
        assert torch.equal(restorer()(dry, knobs(-HALF_RANGE)), dry)


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75])
def test_what_is_taken_away_grows_evenly_with_the_strength(strength) -> None:
    dry, network = noise(1, 1, 5000), restorer()
    with torch.inference_mode():
        full = dry - network(dry, knobs(HALF_RANGE))
        some = dry - network(dry, knobs(strength - HALF_RANGE))
    assert full.square().mean() > 1e-4 * dry.square().mean()
    torch.testing.assert_close(some, strength * full, atol=ROUNDING, rtol=0)


def test_it_hears_the_same_at_every_level() -> None:
    """Well above what counts as silence, a sound twice as loud comes out twice as loud."""
    dry, network = noise(1, 1, 5000), restorer()
    with torch.inference_mode():
        once, twice = network(dry, knobs(0.2)), network(2 * dry, knobs(0.2))
    inside = slice(1400, 3600)  # at the ends it hears the silence around
    torch.testing.assert_close(twice[..., inside], 2 * once[..., inside], atol=1e-4, rtol=0)


def test_transforms_there_and_back_change_nothing(monkeypatch) -> None:
    """If everything is damage, nothing is left."""
    network = restorer()
    monkeypatch.setattr(network, "core", lambda power, settings: [torch.ones_like(power)])
    with torch.inference_mode():
        assert network(noise(1, 1, 5000), knobs(HALF_RANGE)).abs().max() < ROUNDING


def test_what_is_predicted_of_a_room_is_the_same_in_one_pass_and_in_blocks() -> None:
    torch.manual_seed(0)
    late = PredictionConfig(n_fft=256, hop_length=64, taps=4, num_bins=100)
    network = FrameRestorer(RESTORER.model_copy(update={"late": late})).eval()
    dry, size = noise(2, 1, 5000), network.spec.block_samples
    strengths = knobs(HALF_RANGE).expand(2, 1)
    with torch.inference_mode():
        whole = network(dry, strengths)
        state, found = network.initial_state(2), []
        rest = -(dry.shape[-1] + network.spec.latency_samples) % size
        known = torch.nn.functional.pad(dry, (0, network.spec.latency_samples + rest))
        for block in known.split(size, dim=-1):
            wet, state = network.step(block, strengths, state)
            found.append(wet)
    streamed = torch.cat(found, dim=-1)[..., network.spec.latency_samples :][..., :5000]
    torch.testing.assert_close(streamed, whole, atol=ROUNDING, rtol=0)
    assert (dry - whole).square().mean() > 1e-4 * dry.square().mean()


def test_a_prediction_that_is_believed_is_taken_away() -> None:
    """If nothing else is damage, an echoing room's is what the network subtracts."""
    config = RESTORER.model_copy(
        update={"late": PredictionConfig(n_fft=256, hop_length=64, taps=16, num_bins=129)}
    )
    network = FrameRestorer(config.model_copy(update={"block_frames": 512})).eval()
    network.core = lambda power, *rest: [torch.zeros_like(power), torch.ones_like(power)]
    dry, room = noise(1, 1, 30000), noise(1, 1, 30000)
    for echo in range(1, 12):
        room[..., echo * 256 :] += 0.75**echo * dry[..., : -echo * 256]
    with torch.inference_mode():
        left = network(room, knobs(HALF_RANGE)) - dry
    inside = slice(4000, -4000)
    before, after = ((part[..., inside]).square().mean() for part in (room - dry, left))
    assert after < 0.3 * before


def test_a_hop_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="half of n_fft"):
        FrameRestorerConfig(hop_length=768)
    with pytest.raises(ValueError, match="bands exceed"):
        FrameRestorerConfig(n_fft=256, hop_length=128, bands=((64, 3),))


# Putting on a grid --------------------------------------------------------------------------------


class Told(Aligner):
    """An aligner that is told where hits are: ``marks``, in samples of the track."""

    marks: tuple[int, ...] = ()

    def detect(self, dry, settings):
        """Return logits with a peak at each click: a sample of exactly 1."""
        config = self.config
        frames = dry.unfold(-1, config.n_fft, config.hop_length)
        logits = torch.full((len(dry), frames.shape[2]), -20.0)
        for row, audio in enumerate(dry):
            for click in (audio.abs().amax(dim=0) == 1.0).nonzero()[:, 0].tolist():
                centre = (click - config.n_fft / 2) / config.hop_length
                near = torch.arange(frames.shape[2]) - centre
                likely = (1 - near.abs() / 1.5).clamp(0.0, 0.999)
                logits[row] = torch.maximum(logits[row], likely.logit(eps=1e-6))
        return logits


def told() -> Told:
    torch.manual_seed(0)
    return Told(ALIGNER).eval()


def clicks(*places: int, length: int = 3 * RATE, channels: int = 1) -> torch.Tensor:
    """Return ringing clicks over nothing, each 1 where it begins."""
    audio = torch.zeros(1, channels, length)
    for place in places:
        count = min(2000, length - place)
        time = torch.arange(count)
        audio[..., place : place + count] = torch.exp(-time / 600) * torch.cos(time / 5)
    return audio


def begins(audio: torch.Tensor) -> list[int]:
    """Return where clicks are 1."""
    return (audio[0, 0] > 0.999).nonzero()[:, 0].tolist()


def grid(strength: float, bpm: float, offset_ms: float, lines: float = 1.0) -> torch.Tensor:
    wanted = {STRENGTH: strength, TEMPO: bpm, OFFSET: offset_ms, LINES: lines}
    return torch.tensor([[knob.to_network(value) for knob, value in wanted.items()]])


def test_hits_go_to_the_nearest_line() -> None:
    dry = clicks(4000 - 700, 8000 + 900, 12000, 16000 + 1360)
    with torch.inference_mode():
        wet = told()(dry, grid(1.0, 120.0, 0.0))
    assert begins(wet) == pytest.approx([4000, 8000, 12000, 16000], abs=8)  # a millisecond


def test_half_the_strength_goes_half_the_way_and_none_nowhere() -> None:
    dry = clicks(4000 - 700, 8000 + 900)
    with torch.inference_mode():
        half = told()(dry, grid(0.5, 120.0, 0.0))
        none = told()(dry, grid(0.0, 120.0, 0.0))
    assert begins(half) == pytest.approx([4000 - 350, 8000 + 450], abs=8)
    assert torch.equal(none, dry)


def test_offset_and_lines_of_a_beat_are_where_hits_go() -> None:
    dry = clicks(4400, 6100)
    with torch.inference_mode():
        wet = told()(dry, grid(1.0, 120.0, 25.0, 2.0))
    assert begins(wet) == pytest.approx([4200, 6200], abs=8)


def test_what_is_far_from_every_line_stays() -> None:
    dry = clicks(6000, 8200)
    with torch.inference_mode():
        wet = told()(dry, grid(1.0, 120.0, 0.0))
    assert begins(wet) == pytest.approx([6000, 8000], abs=8)


def test_two_hits_at_one_line_keep_their_distance() -> None:
    dry = clicks(8300, 9100)
    with torch.inference_mode():
        wet = told()(dry, grid(1.0, 120.0, 0.0))
    assert begins(wet) == pytest.approx([8000, 8800], abs=8)


def test_a_gap_sounds_on() -> None:
    """A hit comes 100 ms early over a steady tone: where it was, the tone goes on."""
    time = torch.arange(3 * RATE)
    tone = 0.1 * torch.sin(time / 4.0)[None, None]
    hit = clicks(8000 - 800)
    dry = torch.where(time >= 8000 - 800, torch.where(hit == 1.0, 1.0, hit), tone)
    with torch.inference_mode():
        wet = told()(dry, grid(1.0, 120.0, 0.0))
    gap = slice(8000 - 780, 8000 - 100)
    assert begins(wet) == pytest.approx([8000], abs=8)
    torch.testing.assert_close(wet[..., gap], tone[..., gap], atol=0.01, rtol=0)


def test_channels_are_moved_together() -> None:
    """Only the left one has the hit; the right one goes along."""
    dry = clicks(8000 - 700, channels=2)
    dry[:, 1] *= 0.4
    with torch.inference_mode():
        wet = told()(dry, grid(1.0, 120.0, 0.0))
    assert begins(wet) == pytest.approx([8000], abs=8)
    torch.testing.assert_close(wet[:, 1], 0.4 * wet[:, 0], atol=ROUNDING, rtol=0)


def test_blocks_give_what_one_pass_gives_with_a_grid_in_its_knobs() -> None:
    places = np.random.default_rng(0).integers(0, 8 * RATE - 2000, size=12).tolist()
    dry = clicks(*places, length=8 * RATE, channels=2)
    network, settings = told(), grid(0.8, 97.0, 30.0, 2.0)
    state, parts = network.initial_state(), []
    with torch.inference_mode():
        whole = network(dry, settings)
        for block in dry.split(network.spec.block_samples, dim=-1):
            if block.shape[-1] == network.spec.block_samples:
                wet, state = network.step(block, settings, state)
                parts.append(wet)
    streamed = torch.cat(parts, dim=-1)[..., network.spec.latency_samples :]
    torch.testing.assert_close(streamed, whole[..., : streamed.shape[-1]], atol=ROUNDING, rtol=0)
    assert not torch.equal(whole, dry)


def test_beats_replace_the_tempo() -> None:
    network, spec = told(), told().spec
    dry = clicks(4300, 9000, length=5 * spec.block_samples)
    state = network.state_with_beats([0.5, 1.1, 1.8])
    parts = []
    with torch.inference_mode():
        for block in dry.split(spec.block_samples, dim=-1):
            wet, state = network.step(block, grid(1.0, 60.0, 0.0), state)
            parts.append(wet)
    wet = torch.cat(parts, dim=-1)[..., spec.latency_samples :]
    assert begins(wet) == pytest.approx([4000, 8800], abs=8)


def test_effects_that_follow_no_beats_say_so(tmp_path) -> None:
    network = restorer()
    path = write_checkpoint(
        tmp_path / "restorer.safetensors",
        state=network.state_dict(),
        architecture="frame-restorer",
        config=RESTORER,
        knobs=RESTORER.knobs,
        sample_rate=RATE,
    )
    effect = Effect(path or tmp_path / "restorer.safetensors")
    sound = Audio(noise(2, 3000), 11025)
    assert torch.equal(
        effect.apply(Audio(noise(2, 3000), RATE), strength=0.0).samples, noise(2, 3000)
    )
    assert effect.apply(sound).samples.shape == (2, 3000)
    with pytest.raises(ConfigError, match="follows no beats"):
        effect.apply(sound, beats=[0.1, 0.2])
