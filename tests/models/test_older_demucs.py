"""Configurations of Demucs and Hybrid Demucs that cannot be, and what the networks tell."""

import json

import pytest
from pydantic import ValidationError

from audiform.models.demucs import Demucs, DemucsConfig
from audiform.models.hdemucs import HDemucs, HDemucsConfig
from audiform.protocols import OverlapAdd
from tests.models_for_tests import TINY_DEMUCS, TINY_HDEMUCS


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (DemucsConfig, {"stride": 9}, "leaves gaps"),
        (DemucsConfig, {"kernel_size": 7, "stride": 3}, "must be even with resample"),
        (DemucsConfig, {"kernel_size": 16, "stride": 8}, "lower one of them"),
        (DemucsConfig, {"norm_groups": 3}, "norm_groups = 3 must divide"),
        (DemucsConfig, {"hidden_channels": 3, "norm_groups": 1}, "a multiple of"),
        (DemucsConfig, {"segment_seconds": 4000}, "segment_seconds"),
        (DemucsConfig, {"sources": []}, "sources"),
        (HDemucsConfig, {"kernel_size": 4}, "twice stride"),
        (HDemucsConfig, {"n_fft": 2048}, "4 x stride"),
        (HDemucsConfig, {"n_fft": 16}, "two levels at least"),
        (HDemucsConfig, {"depth": 4}, "raise depth"),
        (HDemucsConfig, {"norm_groups": 5}, "norm_groups = 5 must divide"),
        (HDemucsConfig, {"branch_compression": 1000}, "0 wide"),
        (HDemucsConfig, {"band_edges": [0.5], "banded_levels": 5}, "lower it"),
        (HDemucsConfig, {"band_edges": [0.5, 0.4]}, "must rise"),
        (HDemucsConfig, {"band_edges": [0.5, 0.501]}, "must rise"),
        (HDemucsConfig, {"band_edges": [float("inf")]}, "band_edges"),
        (HDemucsConfig, {"band_edges": [float("nan")]}, "band_edges"),
        (HDemucsConfig, {"spectrum": "cubes"}, "spectrum"),
    ],
)
def test_what_does_not_fit_is_refused(config, changes, words) -> None:
    with pytest.raises(ValidationError, match=words):
        config.model_validate(changes)


def test_huge_numbers_are_refused_before_anything_is_made() -> None:
    text = '{"hidden_channels": 1e400, "growth": 16}'
    for config in (DemucsConfig, HDemucsConfig):
        with pytest.raises(ValidationError):
            config.model_validate(json.loads(text))


def test_both_take_any_segment_and_overlap_by_a_quarter() -> None:
    for network in (Demucs(TINY_DEMUCS), HDemucs(TINY_HDEMUCS)):
        assert not network.spec.fixed_segment
        assert network.spec.join == OverlapAdd(0.25)
        assert network.spec.segment_samples == network.config.segment_samples


def test_demucs_asks_for_valid_lengths_hybrid_demucs_for_what_there_is() -> None:
    demucs, hybrid = Demucs(TINY_DEMUCS), HDemucs(TINY_HDEMUCS)
    assert [demucs.input_samples(length) for length in (1, 43, 85, 100)] == [74, 74, 106, 106]
    assert hybrid.input_samples(12_345) == 12_345


def test_the_defaults_meet_after_five_levels() -> None:
    config = HDemucsConfig()
    assert config.spectrum_levels == 5
    assert config.depth == 6
    assert [config.level_channels(level) for level in (0, 5)] == [48, 1536]
