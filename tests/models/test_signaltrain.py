"""SignalTrain against its definition, computed the way that it was published; and its options."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from audiform.knob import Knob
from audiform.models.signaltrain import SignalTrain, SignalTrainConfig
from tests.models_for_tests import KNOBS, TINY_SIGNALTRAIN

PUBLISHED = SignalTrainConfig.published(knobs=KNOBS).model_copy(
    update={"n_fft": 32, "hop_length": 12, "chunk_samples": 256, "rank": 8}
)


def built(config: SignalTrainConfig, seed: int = 0) -> SignalTrain:
    torch.manual_seed(seed)
    network = SignalTrain(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network.eval()


def material(count: int = 3, extra: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    chunks = 0.5 * torch.randn(count, 256 + extra, generator=generator)
    return chunks, torch.rand(count, len(KNOBS), generator=generator) - 0.5


def autoencoder(path: torch.nn.Module, bins: torch.Tensor, knobs: torch.Tensor) -> torch.Tensor:
    """Nine linear layers with ELU; knobs repeated for each bin, concatenated before the fifth."""
    state = path.state_dict()
    names = [*(f"encode.{n}" for n in range(4)), "add_knobs", *(f"decode.{n}" for n in range(4))]
    for name in names:
        if name == "add_knobs":
            bins = torch.cat([bins, knobs[:, None].repeat(1, bins.shape[1], 1)], dim=-1)
        bins = F.elu(F.linear(bins, state[f"{name}.weight"], state[f"{name}.bias"]))
    return bins


def as_published(network: SignalTrain, chunks: torch.Tensor, knobs: torch.Tensor) -> torch.Tensor:
    """Strided convolutions to all bins, the mirrored spectrum, transposed convolutions."""
    analysis, synthesis = (network.state_dict()[f"stft.{way}"] for way in ("analysis", "synthesis"))
    half, bins, used = chunks / 2, 17, slice(-9, None)
    real, imaginary = (
        F.conv1d(half[:, None], part[:, None], stride=12, padding=32)[:, :bins] for part in analysis
    )
    magnitude, phase = torch.hypot(real, imaginary), torch.atan2(imaginary, real + 1e-7)
    gain = autoencoder(network.magnitude_path, magnitude, knobs)
    new_phase = autoencoder(network.phase_path, phase, knobs) + phase[..., used]
    spectrum = torch.polar(gain.abs() * magnitude[..., used], new_phase) * gain.sign()
    mirrored = torch.cat([spectrum, spectrum[:, 1:-1].flip(1).conj()], dim=1)
    parts = (mirrored.real, mirrored.imag.contiguous())
    wet = sum(
        F.conv_transpose1d(part, weight[:, None], stride=12)
        for part, weight in zip(parts, synthesis, strict=True)
    )
    return 2 * (wet[:, 0, 32:-32] + half[:, -64:])


def test_it_has_the_published_number_of_weights() -> None:
    knobs = [Knob(name=f"knob_{n}", minimum=0.0, maximum=1.0, default=0.0) for n in range(4)]
    network = SignalTrain(SignalTrainConfig.published(knobs=knobs))
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_211_090
    assert network.spec.context_samples == 6144
    assert network.spec.block_samples == 2048
    assert network.spec.latency_samples == 0


def test_it_computes_what_the_published_layout_computes() -> None:
    network = built(PUBLISHED)
    chunks, knobs = material()
    with torch.inference_mode():
        found, magnitudes = network.core(chunks, knobs)
        expected = as_published(network, chunks, knobs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert magnitudes.shape == (3, 17, 9)


@pytest.mark.parametrize(
    ("chunk", "shrink", "frames", "output_frames", "output"),
    [(4096, 1, 14, 14, 3968), (16384, 8, 46, 9, 2048), (131072, 4, 345, 89, 32768)],
)
def test_other_sizes_are_the_published_ones(chunk, shrink, frames, output_frames, output) -> None:
    config = SignalTrainConfig.published(knobs=(), chunk_samples=chunk, shrink_factor=shrink)
    assert config.frames.num_frames == frames
    assert config.frames.output_frames == output_frames
    assert config.frames.output_samples == output


def test_zeros_on_the_right_are_heard_and_audio_there_is_not() -> None:
    """With transforms alone the frames must rebuild the chunk's end whatever follows it."""
    for right_context, rebuilds in (("zeros", False), ("audio", True)):
        config = PUBLISHED.model_copy(update={"right_context": right_context})
        network = SignalTrain(config)
        chunks, _ = material(extra=network.frames.latency_samples)
        real, imaginary = network.stft.analyse(chunks, num_frames=25)
        found = network.stft.synthesise(real[..., -9:], imaginary[..., -9:])
        seen_to_the_end = (real[..., -1].abs().max() > 0).item()
        assert seen_to_the_end == rebuilds
        torch.testing.assert_close(found, chunks[:, 192:256], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("correction", "lowest"), [("elu", -1.0), ("free", -3.0)])
def test_only_a_free_correction_turns_a_phase_far_back(correction, lowest) -> None:
    network = built(PUBLISHED.model_copy(update={"phase_correction": correction}))
    with torch.no_grad():
        network.phase_path.decode[-1].bias -= 4.0
        turned = network.phase_path(torch.zeros(1, 17, 25), torch.zeros(1, len(KNOBS)))
    assert turned.min() >= -1.0 if correction == "elu" else turned.min() < lowest


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="change chunk_samples by -128"):
        SignalTrainConfig(chunk_samples=16384)
    with pytest.raises(ValidationError, match="all_bins is for transforms 'free'"):
        SignalTrainConfig(all_bins=True)
    with pytest.raises(ValidationError, match="multiple of 4"):
        SignalTrainConfig(rank=10)
    with pytest.raises(ValidationError, match="output is longer"):
        TINY_SIGNALTRAIN.model_validate(
            TINY_SIGNALTRAIN.model_dump() | {"chunk_samples": 40, "shrink_factor": 1, "n_fft": 30}
        )
