"""A gain over time by attention to levels: where it starts, what it sees, how chunks meet."""

import pytest
import torch

from audiform.nn.gain_curve import GainCurve, LevelTokens

CHUNK, ANSWERED, TOKEN, POINT = 256, 64, 16, 4


def built(*, trained: bool, near_tokens: int = 16, num_knobs: int = 2) -> GainCurve:
    torch.manual_seed(0)
    curve = GainCurve(
        8,
        output_samples=ANSWERED,
        token_samples=TOKEN,
        point_samples=POINT,
        num_ramps=3,
        near_tokens=near_tokens,
        far_group=4,
        num_heads=2,
        num_blocks=2,
        num_knobs=num_knobs,
    )
    if trained:
        with torch.no_grad():
            for parameter in curve.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return curve.eval()


def sound(samples: int = CHUNK) -> torch.Tensor:
    return 0.3 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("near_tokens", [8, 16])
def test_it_starts_with_a_gain_of_one(near_tokens) -> None:
    curve = built(trained=False, near_tokens=near_tokens)
    assert torch.equal(curve(sound(), torch.zeros(1, 2)), torch.ones(1, ANSWERED))


def test_the_curves_of_two_chunks_meet_and_every_chunk_sees_as_far_back() -> None:
    """Moved by less than an answer, what both chunks answer must be the same."""
    curve, audio, knobs = built(trained=True), sound(CHUNK + 2 * TOKEN), torch.zeros(1, 2)
    early, late = curve(audio[:, :CHUNK], knobs), curve(audio[:, 2 * TOKEN :], knobs)
    assert early.std() > 1e-3
    torch.testing.assert_close(early[:, 2 * TOKEN :], late[:, : -2 * TOKEN], atol=1e-6, rtol=0)


def test_a_gain_does_not_depend_on_what_comes_after_its_token() -> None:
    curve, audio, knobs = built(trained=True), sound(), torch.zeros(1, 2)
    other = audio.clone()
    other[:, -TOKEN:] = 0.9
    change = (curve(audio, knobs) - curve(other, knobs)).abs()[0]
    # The line to the first point of the changed token begins at the last point before it.
    assert change[:-TOKEN].max() == 0
    assert change[-TOKEN:].max() > 1e-3


@pytest.mark.parametrize("near_tokens", [8, 16])
def test_it_hears_the_far_end_of_its_look_back(near_tokens) -> None:
    curve, audio, knobs = built(trained=True, near_tokens=near_tokens), sound(), torch.zeros(1, 2)
    with torch.no_grad():
        for block in curve.blocks:
            block.attention.log_rate.fill_(-6.0)
    other = audio.clone()
    other[:, : 3 * TOKEN] = 0.9
    assert (curve(audio, knobs) - curve(other, knobs)).abs().max() > 1e-5


def test_a_head_that_fades_fast_hears_only_what_is_near() -> None:
    curve, audio, knobs = built(trained=True), sound(), torch.zeros(1, 2)
    with torch.no_grad():
        for block in curve.blocks:
            block.attention.log_rate.fill_(4.0)
            block.attention.rate_from_knobs.weight.zero_()
    other = audio.clone()
    other[:, : CHUNK - ANSWERED - 2 * TOKEN] = 0.9
    torch.testing.assert_close(curve(audio, knobs), curve(other, knobs), atol=1e-5, rtol=0)


def test_a_ramp_rises_in_db_above_its_knee() -> None:
    tokens = LevelTokens(1, token_samples=4, mean_samples=2, num_ramps=1, num_knobs=0)
    with torch.no_grad():
        tokens.knee.fill_(0.4)
        tokens.embed.weight.fill_(1.0)
        tokens.embed.bias.zero_()
    quiet, loud, louder = (
        tokens(torch.full((1, 4), x), torch.zeros(1, 0)) for x in (0.1, 0.4, 0.8)
    )
    assert quiet == 0
    doubled = 2 * 0.2 * torch.tensor(2.0).log()  # two means, each higher by the level's doubling
    torch.testing.assert_close(louder - loud, doubled[None, None, None], atol=1e-3, rtol=0)
