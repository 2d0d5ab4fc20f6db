"""Dry sounds, rendered pairs, inverse tasks: what they are made of, and that they repeat."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy import signal

from audiform.audio import Audio
from audiform.data.effect_inputs import KINDS, RecordedDry, SyntheticDry, pink_noise
from audiform.data.effect_pairs import EffectPairs, RenderedEffect, draw_settings
from audiform.data.inverse_tasks import Denoise, Dereverberate, TimeAlign, perform
from audiform.data.rooms import draw_room, reflections
from audiform.effects import EFFECTS
from audiform.errors import ConfigError, DataError
from audiform.knob import settings_from_network
from audiform.training.examples import BatchPlan, Examples, loaded

RATE = 16000

TASKS = {
    "compressor": RenderedEffect("compressor"),
    "decompressor": RenderedEffect("compressor", inverse=True, lead_in_seconds=0.1),
    "denoise": Denoise(),
    "align": TimeAlign(num_notes=3),
    "dereverberate": Dereverberate(),
}
every_task = pytest.mark.parametrize("name", TASKS)


def pairs(name: str, **more: int) -> EffectPairs:
    return EffectPairs(TASKS[name], samples=2000, sample_rate=RATE, **more)


def at_strength(task, strength: float, monkeypatch, samples: int = 8000):
    """Draw the pair of one generator with another strength."""
    monkeypatch.setattr("audiform.data.inverse_tasks._draw_strength", lambda rng: strength)
    return task(np.random.default_rng(4), samples=samples, sample_rate=RATE)


# Dry sounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_sound_of_the_length_asked_for(kind) -> None:
    source = SyntheticDry((kind,), mixed_share=0.3)
    drawn = [
        source(np.random.default_rng(seed), samples=3001, sample_rate=RATE) for seed in range(6)
    ]
    for clip in drawn:
        assert clip.shape == (1, 3001) and clip.dtype == torch.float32
        assert 0.05 < clip.abs().max() <= 1.0 + 1e-6
    assert not torch.equal(drawn[0], drawn[1])


def test_clips_follow_each_other_and_have_both_polarities() -> None:
    clips = SyntheticDry(("box",), clip_samples=1000)(
        np.random.default_rng(0), samples=20_500, sample_rate=RATE
    )
    signs = clips[0, :20_000].reshape(20, 1000).mean(dim=1).sign()
    assert set(signs.tolist()) == {-1.0, 1.0}


def test_pink_noise_has_equal_power_in_every_octave() -> None:
    noise = pink_noise(np.random.default_rng(0), 1 << 17)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[1 << k : 2 << k].sum() for k in range(8, 15)]
    assert max(octaves) / min(octaves) < 1.3


def test_kinds_that_are_not_there_are_refused() -> None:
    with pytest.raises(DataError, match="noisy-box"):
        SyntheticDry(("square",))
    with pytest.raises(DataError, match="none was named"):
        SyntheticDry(())


def test_recordings_are_cut_anywhere_and_only_there() -> None:
    ramp = torch.arange(5000.0)[None].expand(2, -1) + 1.0
    source = RecordedDry((Audio(ramp, RATE),), gain_db=(0.0, 0.0))
    starts = set()
    for seed in range(20):
        crop = source(np.random.default_rng(seed), samples=4000, sample_rate=RATE)
        assert torch.allclose(crop.abs().diff(), torch.ones(2, 3999))
        starts.add(crop[0, 0].abs().item())
    assert len(starts) > 15 and min(starts) >= 1.0 and max(starts) <= 1001.0
    with pytest.raises(DataError, match="5001"):
        source(np.random.default_rng(0), samples=5001, sample_rate=RATE)
    with pytest.raises(DataError, match="channels"):
        RecordedDry((Audio(ramp, RATE), Audio(ramp[:1], RATE)))


# Pairs ----------------------------------------------------------------------------------------


@every_task
def test_a_draw_is_named_tensors_and_depends_on_its_number_alone(name) -> None:
    data = pairs(name, draw_size=3, seed=5)
    draw = data(7)
    count = len(TASKS[name].knobs)
    assert {key: tuple(value.shape) for key, value in draw.items()} == {
        "dry": (3, 1, 2000), "wet": (3, 1, 2000), "knobs": (3, count),
    }  # fmt: skip
    assert all(torch.isfinite(value).all() for value in draw.values())
    assert (draw["knobs"].abs() <= 0.5).all()
    again = pickle.loads(pickle.dumps(data))(7)
    assert all(torch.equal(draw[key], again[key]) for key in draw)
    one_by_one = torch.cat([pairs(name, seed=5)(number)["wet"] for number in (21, 22, 23)])
    assert torch.equal(draw["wet"], one_by_one)
    assert not torch.equal(draw["dry"], pairs(name, draw_size=3, seed=6)(7)["dry"])
    assert not torch.equal(draw["dry"], data(8)["dry"])


def test_the_trainer_takes_them_and_workers_change_nothing() -> None:
    data = pairs("compressor", draw_size=2, seed=1)
    assert isinstance(data, Examples)
    plan = BatchPlan(batch_size=4, draw_size=data.draw_size)
    batches = []
    for num_workers in (0, 1):
        with loaded(data, plan, first_step=3, num_workers=num_workers) as parts:
            batches.append(next(parts))
    for name, value in batches[0].items():
        assert torch.equal(value, batches[1][name])
    assert torch.equal(batches[0]["wet"][2:], data(7)["wet"])


@every_task
def test_global_randomness_is_left_alone(name) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    pairs(name)(0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_the_wet_sound_is_the_effect_at_the_knobs() -> None:
    draw = pairs("compressor")(3)
    knobs = EFFECTS["compressor"].knobs
    settings = settings_from_network(knobs, draw["knobs"][0])
    expected = EFFECTS["compressor"].apply(draw["dry"][0], RATE, **settings)
    assert torch.allclose(draw["wet"][0], expected, atol=1e-5)  # knobs went through float32
    undo = pairs("decompressor")(3)
    assert undo["dry"].abs().sum() < undo["wet"].abs().sum()


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_has_pairs(effect) -> None:
    draw = EffectPairs(RenderedEffect(effect), samples=1500, sample_rate=RATE)(0)
    assert draw["knobs"].shape == (1, len(EFFECTS[effect].knobs))
    assert torch.isfinite(draw["wet"]).all()


def test_a_lead_in_puts_the_effect_in_the_middle_of_something() -> None:
    task = RenderedEffect("echo", fixed={"delay_ms": 30.0, "ratio": 1.0}, lead_in_seconds=0.1)
    assert task.knobs == ()
    pair = task(np.random.default_rng(0), samples=400, sample_rate=RATE)
    assert not torch.allclose(pair.wet, pair.dry, atol=1e-3)  # the first echo takes 480 samples
    draw = EffectPairs(task, samples=400, sample_rate=RATE)(0)
    assert draw["knobs"].shape == (1, 0)


def test_knobs_favour_the_ends_of_their_ranges() -> None:
    rng = np.random.default_rng(0)
    knob = EFFECTS["compressor"].knobs[0]
    drawn = [knob.to_network(draw_settings((knob,), rng)[knob.name]) for _ in range(4000)]
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.05)  # beta's
    assert np.mean(drawn) == pytest.approx(0.0, abs=0.02)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="compressor"):
        RenderedEffect("flanger")
    with pytest.raises(DataError, match="to fix"):
        RenderedEffect("echo", fixed={"depth": 1.0})
    with pytest.raises(DataError, match="at least 1"):
        EffectPairs(Denoise(), samples=0, sample_rate=RATE)
    with pytest.raises(DataError, match="at least 1"):
        TimeAlign(num_notes=0)


# Inverse tasks --------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Denoise(), TimeAlign(num_notes=2), Dereverberate()])
def test_no_strength_changes_nothing_and_more_changes_more(task, monkeypatch) -> None:
    dry, same, _ = at_strength(task, 0.0, monkeypatch)
    assert torch.equal(dry, same)
    full = at_strength(task, 1.0, monkeypatch)
    assert torch.equal(full.dry, dry)
    if not isinstance(task, TimeAlign):  # there a half moves things, it does not mix them
        half = at_strength(task, 0.5, monkeypatch)
        assert torch.allclose(half.wet, (dry + full.wet) / 2, atol=1e-6)
    assert (full.wet - dry).square().mean() > 1e-6


def test_full_strength_leaves_the_clean_sound(monkeypatch) -> None:
    clean = 0.1 * torch.sin(torch.arange(16000.0) / 9.0)[None]
    source = RecordedDry((Audio(clean, RATE),), gain_db=(0.0, 0.0))
    for task in (Denoise(source), Dereverberate(source, lead_in_seconds=0.0)):
        wet = at_strength(task, 1.0, monkeypatch, samples=16000).wet
        assert torch.allclose(wet.abs(), clean.abs(), atol=1e-6)


def test_notes_are_moved_onto_the_grid_or_half_way() -> None:
    task = TimeAlign(num_notes=3, max_shift_seconds=0.05)
    found = task.draw(np.random.default_rng(2), samples=12000, sample_rate=RATE)
    assert found.grid[1:] == (2000, 6000, 10000)
    assert found.played[0] == found.grid[0] <= 0
    off = np.array(found.played[1:]) - np.array(found.grid[1:])
    assert (np.abs(off) <= 800).all() and (off != 0).all()
    assert found.onsets(0.0) == found.played and found.onsets(1.0) == found.grid
    half = np.array(found.onsets(0.5)[1:]) - np.array(found.grid[1:])
    assert np.abs(half - off / 2).max() <= 0.5


def test_a_gap_is_filled_with_more_of_what_came_before() -> None:
    """An early note is moved back by 1000 samples: there the note before it goes on."""
    ringing, struck = np.sin(np.arange(9000) / 7.0), np.full(9000, 0.5)
    play = lambda onset: perform(  # noqa: E731
        (ringing, struck), (-100, onset), samples=4000, fade_samples=32
    )[0].numpy()
    early, aligned = play(1000), play(2000)
    assert np.allclose(aligned[:2000], ringing[100:2100], atol=1e-6)
    assert np.allclose(early[1032:], 0.5)
    assert np.allclose(aligned[2032:], 0.5)
    assert np.array_equal(early[:1000], aligned[:1000])
    faded = aligned[2000:2032] - 0.5
    assert np.abs(faded).max() <= 1.0 and abs(faded[-1]) < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_a_room_decays_in_its_time_and_has_its_level(seed) -> None:
    rng = np.random.default_rng(seed)
    room = draw_room(rng)
    response = reflections(room, rng, sample_rate=RATE)
    direct_db = -10 * np.log10(np.sum(response**2))
    assert direct_db == pytest.approx(room.direct_to_reverberant_db, abs=1e-6)
    left_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2))
    first, last = np.argmax(left_db < -15), np.argmax(left_db < -35)
    assert 3 * (last - first) / RATE == pytest.approx(room.decay_seconds, rel=0.2)


def test_the_first_reflections_come_when_and_as_strong_as_geometry_says() -> None:
    """One wall near by: the floor's image, its path and its loss worked out by hand."""
    from audiform.data.rooms import Room

    room = Room((9.0, 7.0, 4.0), (4.0, 3.0, 0.6), (6.0, 3.0, 0.6), 0.6, 0.0)
    response = reflections(room, np.random.default_rng(0), sample_rate=48000)
    path = np.hypot(2.0, 1.2)
    floor = round((path - 2.0) / 343.0 * 48000)
    assert np.flatnonzero(response)[0] == floor
    following = np.flatnonzero(response)[1]
    wall_path = min(np.hypot(2.0, 6.0), np.hypot(2.0, 6.8), 10.0)
    assert following == round((wall_path - 2.0) / 343.0 * 48000)
    ratio = response[floor] / response[following]
    assert ratio == pytest.approx(wall_path / path, rel=1e-6)


def test_rooms_sound_like_convolution_says(monkeypatch) -> None:
    impulse = torch.zeros(1, 9000)
    impulse[0, 0] = 1.0
    source = RecordedDry((Audio(impulse, RATE),), gain_db=(0.0, 0.0))
    task = Dereverberate(source, lead_in_seconds=0.0)
    pair = at_strength(task, 1.0, monkeypatch, samples=9000)
    rng = np.random.default_rng(4)
    dry = source(rng, samples=9000, sample_rate=RATE)
    response = reflections(draw_room(rng), rng, sample_rate=RATE)
    expected = signal.fftconvolve(dry.numpy()[0].astype(float), response)[:9000]
    assert np.abs((pair.dry - pair.wet).numpy()[0] - expected).max() < 1e-6
