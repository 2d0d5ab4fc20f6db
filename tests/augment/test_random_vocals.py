from __future__ import annotations

import pytest
import torch

from audiform.augment.random_vocals import (
    RandomVocals,
    RandomVocalsConfig,
    SongSpectra,
    VocalSpectra,
    apply_random_vocals,
    draw_random_vocals,
    magnitudes,
)
from audiform.errors import ConfigError


def spectra(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 5, 7, dtype=torch.complex64, generator=generator)


def songs() -> SongSpectra:
    return SongSpectra(spectra(3, 1), spectra(3, 2), torch.tensor([4.0, 5.0, 6.0]))


def vocals() -> VocalSpectra:
    return VocalSpectra(spectra(4, 3), torch.tensor([1.0, 10.0, 2.0, 20.0]))


def plain(**changes: torch.Tensor) -> RandomVocals:
    parameters = {
        "piece": torch.tensor([[0, 1], [2, 3], [1, 0]]),
        "level": torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 0.0]]),
        "swapped": torch.zeros(3, 2, dtype=torch.bool),
        "silent_channel": torch.full((3, 2), -1),
        "swap_both": torch.zeros(3, dtype=torch.bool),
        "identity": torch.zeros(3, dtype=torch.bool),
    }
    return RandomVocals(**(parameters | changes))


def draw(paired: bool, config: RandomVocalsConfig | None = None, seed: int = 0) -> RandomVocals:
    return draw_random_vocals(
        config or RandomVocalsConfig(),
        paired=torch.full((4000,), paired),
        num_pieces=9,
        generator=torch.Generator().manual_seed(seed),
    )


def test_shares_for_instrumentals() -> None:
    drawn = draw(paired=False)
    whole = drawn.level.sum(dim=1)
    expected = 0.98  # a voice at full level
    assert (whole > 0.9999).float().mean().item() == pytest.approx(expected, abs=0.01)
    two = (drawn.level > 0).all(dim=1)
    assert two.float().mean().item() == pytest.approx(0.5 * (0.98 + 0.02 * 0.33), abs=0.03)
    assert drawn.level[two].mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    assert drawn.swapped.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (drawn.silent_channel >= 0).float().mean().item() == pytest.approx(0.025, abs=0.006)
    assert drawn.swap_both.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.identity.float().mean().item() == pytest.approx(0.025, abs=0.008)
    assert drawn.piece.unique().tolist() == list(range(9))


def test_shares_for_pairs() -> None:
    whole = draw(paired=True).level.sum(dim=1)
    assert (whole > 0).float().mean().item() == pytest.approx(0.33, abs=0.03)
    assert whole[whole > 0].mean().item() == pytest.approx(0.5, abs=0.03)


def test_equal_generators_draw_equally_and_leave_global_randomness_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(draw(False).level, draw(False).level)
    assert not torch.equal(draw(False).piece, draw(False, seed=1).piece)
    assert torch.equal(before, torch.get_rng_state())


def test_voices_are_added_with_their_phase_and_level() -> None:
    mixed = apply_random_vocals(songs(), vocals(), plain())
    voice, mixture = vocals().spectra, songs().mixture
    torch.testing.assert_close(mixed.mixture[0], mixture[0] + voice[0])
    torch.testing.assert_close(mixed.mixture[1], mixture[1] + 0.25 * voice[2] + 0.75 * voice[3])
    assert torch.equal(mixed.mixture[2], mixture[2])
    assert torch.equal(mixed.instrumental, songs().instrumental)
    assert mixed.peak.tolist() == [4.0, 0.25 * 2 + 0.75 * 20, 6.0]


def test_channels_of_a_voice_and_of_an_item() -> None:
    drawn = plain(
        swapped=torch.tensor([[True, False]] * 3),
        silent_channel=torch.tensor([[0, -1]] * 3),
        swap_both=torch.tensor([False, True, True]),
    )
    mixed = apply_random_vocals(songs(), vocals(), drawn)
    before = songs()
    torch.testing.assert_close(mixed.mixture[0, 0], before.mixture[0, 0])
    torch.testing.assert_close(mixed.mixture[0, 1], before.mixture[0, 1] + vocals().spectra[0, 0])
    assert torch.equal(mixed.instrumental[0], before.instrumental[0])
    assert torch.equal(mixed.instrumental[1:], before.instrumental[1:].flip(1))
    assert torch.equal(mixed.mixture[2], before.mixture[2].flip(0))


def test_an_identity_item_has_nothing_to_remove() -> None:
    drawn = plain(identity=torch.tensor([True, True, False]))
    mixed = apply_random_vocals(songs(), vocals(), drawn)
    assert torch.equal(mixed.mixture[:2], mixed.instrumental[:2])
    assert mixed.peak.tolist() == [4.0, 5.0, 6.0]


def test_magnitudes_are_within_zero_and_one() -> None:
    audio = torch.tensor([3.0 + 4.0j, 0.5j]).reshape(1, 2, 1, 1)
    assert magnitudes(audio, torch.tensor([2.0])).flatten().tolist() == [1.0, 0.25]


def test_no_voices_are_refused() -> None:
    with pytest.raises(ConfigError, match="vocal stems"):
        draw_random_vocals(
            RandomVocalsConfig(),
            paired=torch.tensor([True]),
            num_pieces=0,
            generator=torch.Generator(),
        )
