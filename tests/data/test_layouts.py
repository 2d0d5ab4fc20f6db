from __future__ import annotations

import json

import pytest

from audiform.data.exclude import exclude, read_exclusions, write_exclusions
from audiform.data.layouts import LAYOUTS, detect_layout, read_layout, read_tracks
from audiform.data.layouts.knob_values import parse_knobs
from audiform.data.track import AudioRef, map_stems
from audiform.errors import DataError
from tests.data.datasets import (
    STEMS,
    song_stems,
    sound,
    write,
    write_musdb,
    write_pair,
    write_song,
    write_stream_file,
)


def make_csv(root):
    write_song(root / "audio" / "one", song_stems("one"))
    lines = ["track,artist,split,drums,vocals,mixture", "Song,Ann,train,"]
    lines[1] += "audio/one/drums.wav,audio/one/bass.wav|audio/one/vocals.wav,audio/one/mixture.wav"
    (root / "tracks.csv").write_text("\n".join(lines))


def make_jsonl(root):
    write_pair(root / "pair")
    entry = {
        "track": "Song",
        "stems": {"input": "pair/input.wav", "target": ["pair/output.wav"]},
        "knobs": {"drive": 3},
    }
    (root / "tracks.jsonl").write_text(json.dumps(entry) + "\n\n")


def make_stem_mp4(root):
    for split in ("train", "test"):
        names = ("mixture", *STEMS)
        sounds = [sound(f"{split}/{name}", 0.3, rate=44100) for name in names]
        write_stream_file(root / split / f"Ann - {split}.stem.mp4", sounds)


def make_signaltrain(root):
    for split in ("Train", "Val", "Test"):
        for number in (1, 12):
            write(root / split / f"input_{number}_.wav", sound(f"{split}{number}", channels=1))
            name = f"target_{number}_LA2A_2c__0__{number}.5.wav"
            write(root / split / name, sound(f"{split}{number}", channels=1) / 2)
    (root / "effect_info.ini").write_text(
        "[effect]\nname = 'LA2A'\nknob_names = ['switch', 'reduction']\n"
        "knob_ranges = [[0, 1], [0, 100]]\n"
    )


def make_nam(root):
    write_pair(root)


def make_in_out_folders(root):
    for split in ("train", "test"):
        for take in ("a", "b"):
            write(root / split / "input" / f"{take}.wav", sound(take))
            write(root / split / "target" / f"{take}.wav", sound(take))


def make_in_out_files(root):
    write_pair(root / "pedal", dry_name="input.wav", wet_name="target__gain050.wav")
    write(root / "pedal" / "target__gain100.wav", sound("loud", channels=1))
    write_pair(root / "tape", dry_name="take1_dry.wav", wet_name="take1_wet.wav")


def make_stem_folders(root):
    for name in ("drums/a", "drums/kit/b", "vocals/c"):
        write(root / f"{name}.wav", sound(name))


def make_songs(root):
    write_song(root / "Ann - One", song_stems("one", ("kit", "Sub")), mixture=False)
    write_song(root / "Bob" / "Two", song_stems("two", ("kit", "Sub")), suffix=".flac")


MAKERS = {
    "csv": make_csv,
    "jsonl": make_jsonl,
    "stem-mp4": make_stem_mp4,
    "nam": make_nam,
    "signaltrain": make_signaltrain,
    "in-out-folders": make_in_out_folders,
    "in-out-files": make_in_out_files,
    "musdb": write_musdb,
    "stem-folders": make_stem_folders,
    "songs": make_songs,
}

#: What is read of each: track -> (stems, mixture?, artist, split, knobs).
EXPECTED = {
    "csv": {"Song": ("drums vocals", True, "Ann", "train", {})},
    "jsonl": {"Song": ("input target", False, None, None, {"drive": 3.0})},
    "stem-mp4": {
        f"Ann - {split}": (" ".join(STEMS), True, "Ann", split, {}) for split in ("test", "train")
    },
    "nam": {"nam": ("input target", False, None, None, {})},
    "signaltrain": {
        f"{number}_LA2A_2c__0__{number}.5": (
            "input target",
            False,
            None,
            split,
            {"switch": 0.0, "reduction": number + 0.5},
        )
        for split in ("train", "valid", "test")
        for number in (1, 12)
    },
    "in-out-folders": {"a": ("input target", False, None, "test", {})},
    "in-out-files": {
        "pedal/gain050": ("input target", False, None, None, {"gain": 50.0}),
        "pedal/gain100": ("input target", False, None, None, {"gain": 100.0}),
        "tape/take1": ("input target", False, None, None, {}),
    },
    "musdb": {
        "Ann - One": ("bass drums other vocals", True, "Ann", "train", {}),
        "Cy - Four": ("bass drums other vocals", True, "Cy", "test", {}),
    },
    "stem-folders": {
        "drums/a": ("drums", False, None, None, {}),
        "drums/kit/b": ("drums", False, None, None, {}),
        "vocals/c": ("vocals", False, None, None, {}),
    },
    "songs": {
        "Ann - One": ("kit sub", False, "Ann", None, {}),
        "Bob/Two": ("kit sub", True, "Bob", None, {}),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_recognised_and_read(tmp_path, layout):
    root = tmp_path / layout
    root.mkdir()
    MAKERS[layout](root)
    assert detect_layout(root) == layout
    tracks = {(track.name, track.split): track for track in read_tracks(root)}
    for name, (stems, has_mixture, artist, split, knobs) in EXPECTED[layout].items():
        splits = {key[1] for key in tracks if key[0] == name}
        track = tracks[name, split if split in splits else splits.pop()]
        assert " ".join(track.stems) == stems
        assert (track.mixture is not None) == has_mixture
        assert (track.artist, track.split) == (artist, split)
        assert dict(track.knobs) == knobs
        assert track.is_sum == ("input" not in track.stems)
        assert all(ref.path.is_file() for _, ref in track.files())
        assert track.sample_rate in (22050, 44100)


def test_every_layout_has_a_maker():
    assert MAKERS.keys() == LAYOUTS.keys() == EXPECTED.keys()


def test_what_no_layout_fits_is_said_with_what_was_looked_for_and_found(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    write(tmp_path / "takes" / "a.wav", sound("a"))
    with pytest.raises(DataError) as error:
        read_tracks(tmp_path)
    text = str(error.value)
    assert all(layout.tree in text for layout in LAYOUTS.values())
    assert "found 2 files" in text
    assert "notes.txt" in text
    assert "--layout" in text
    with pytest.raises(DataError, match="no such folder"):
        read_tracks(tmp_path / "absent")
    with pytest.raises(DataError, match="no layout 'muzdb'"):
        read_tracks(tmp_path, layout="muzdb")
    with pytest.raises(DataError, match="holds no track in the layout stem-mp4"):
        read_tracks(tmp_path / "takes", layout="stem-mp4")


def test_a_layout_can_be_forced(tmp_path):
    write(tmp_path / "vendor" / "kick.wav", sound("kick"))
    write(tmp_path / "maker" / "snare.wav", sound("snare"))
    with pytest.raises(DataError, match="no known layout"):
        read_tracks(tmp_path)
    tracks = read_tracks(tmp_path, layout="stem-folders")
    assert [track.sources for track in tracks] == [("maker",), ("vendor",)]


def test_stems_are_renamed_summed_and_dropped(tmp_path):
    write_song(tmp_path / "one", song_stems("one", ("bass_gtr", "sub", "click", "mix", "vocals")))
    (tmp_path / "one" / "mixture.wav").unlink()
    mapping = {"bass_gtr": "bass", "sub": "bass", "click": "", "mix": "mixture"}
    (track,) = read_tracks(tmp_path, mapping=mapping)
    assert track.sources == ("bass", "vocals")
    assert [ref.path.stem for ref in track.references("bass")] == ["bass_gtr", "sub"]
    assert track.mixture is not None
    with pytest.raises(DataError, match="names the stem 'kazoo', the dataset has"):
        read_tracks(tmp_path, mapping={"kazoo": "other"})
    with pytest.raises(DataError, match="two mixtures"):
        map_stems(read_tracks(tmp_path), {"mix": "mixture", "sub": "mixture"})
    assert map_stems([track], {"bass": "", "vocals": ""}) == []


def test_what_is_excluded_is_not_read(tmp_path):
    root = write_musdb(tmp_path / "data")
    pairs = {("Ann - One", None), ("Bob - Three", "bass")}
    write_exclusions(root / "exclude.txt", sorted(pairs, key=str), comment="why\nand how")
    assert read_exclusions(root / "exclude.txt") == pairs
    tracks = {track.name: track for track in read_tracks(root)}
    assert set(tracks) == {"Ann - Two", "Bob - Three", "Cy - Four"}
    assert "bass" not in tracks["Bob - Three"].stems
    other = tmp_path / "mine.txt"
    write_exclusions(other, [("Cy - Four", None)])
    assert len(read_tracks(root, exclusions=other)) == 3
    (track,) = exclude([tracks["Cy - Four"]], {("Cy - Four", "mixture")})
    assert track.mixture is None
    with pytest.raises(DataError, match="list of exclusions cannot be read"):
        read_tracks(root, exclusions=tmp_path / "absent.txt")


def test_nothing_in_a_description_is_run(tmp_path):
    make_signaltrain(tmp_path)
    (tmp_path / "effect_info.ini").write_text(
        "[effect]\nname = x\nknob_names = __import__('os').mkdir('pwned')\nknob_ranges = []\n"
    )
    with pytest.raises(DataError, match=r"effect_info\.ini: cannot be understood"):
        read_tracks(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_an_inverse_effect_swaps_its_sides(tmp_path):
    make_signaltrain(tmp_path)
    text = (tmp_path / "effect_info.ini").read_text()
    (tmp_path / "effect_info.ini").write_text(text + "inverse = True\n")
    for track in read_tracks(tmp_path):
        assert track.stems["target"][0].path.name.startswith("input_")


def test_a_name_that_makes_no_sense_is_an_error(tmp_path):
    make_signaltrain(tmp_path)
    write(tmp_path / "Val" / "input_3_.wav", sound("x"))
    write(tmp_path / "Val" / "target_3_LA2A__0__full.wav", sound("x"))
    write(tmp_path / "Val" / "input_4_.wav", sound("x"))
    write(tmp_path / "Val" / "target_5_LA2A__0__1.wav", sound("x"))
    write(tmp_path / "Val" / "takes.wav", sound("x"))
    write(tmp_path / "Val" / "target_1_LA2A__0__400.wav", sound("x"))
    causes = {finding.cause: str(finding) for finding in read_layout(tmp_path)[1].findings}
    assert set(causes) == {
        "unreadable knobs", "missing target", "missing input", "unknown name", "knob out of range",
    }  # fmt: skip
    assert "'full', which is no number" in causes["unreadable knobs"]
    assert "reduction to 400" in causes["knob out of range"]
    with pytest.raises(DataError, match="and 2 more: audiform data check"):
        read_tracks(tmp_path)


def test_knobs_in_names():
    assert parse_knobs("") == {}
    assert parse_knobs("-20.5__4", ("threshold_db", "ratio")) == {"threshold_db": -20.5, "ratio": 4}
    assert parse_knobs("drive=0.5__1e-3") == {"drive": 0.5, "knob2": 0.001}
    with pytest.raises(ValueError, match="3 knob values for 2 knobs"):
        parse_knobs("1__2__3", ("a", "b"))


def test_a_nam_configuration_names_pieces(tmp_path):
    write_pair(tmp_path, dry_name="x.wav", wet_name="y.wav")
    configuration = {
        "common": {"x_path": "x.wav", "y_path": "y.wav", "delay": 7},
        "train": [{"stop": -20000}, {"start": 100, "stop": 5000, "delay": -3}],
        "validation": {"start_seconds": -0.5, "stop_seconds": None},
    }
    path = tmp_path / "data.json"
    path.write_text(json.dumps(configuration))
    assert detect_layout(tmp_path) == detect_layout(path) == "nam"
    refs = {
        track.name: [
            (ref.start_samples, ref.stop_samples) for refs in track.stems.values() for ref in refs
        ]
        for track in read_tracks(path)
    }
    assert refs == {
        "train1": [(0, 24100 - 7), (7, 24100)],
        "train2": [(103, 5000), (100, 4997)],
        "valid1": [(33075, 44100 - 7), (33082, 44100)],
    }
    configuration["common"]["x_path"] = "gone.wav"
    path.write_text(json.dumps(configuration))
    with pytest.raises(DataError, match="entry 1 of 'train' cannot be used"):
        read_tracks(path)


def test_a_list_with_a_line_per_file(tmp_path):
    write_song(tmp_path / "audio", song_stems("one"))
    lines = ["stem,path,track", "drums,audio/drums.wav,A", "vocals,audio/vocals.wav,A"]
    lines += ["vocals,audio/bass.wav,A", "drums,audio/other.wav,"]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines))
    tracks = {track.name: track for track in read_tracks(path)}
    assert set(tracks) == {"A", "drums/other"}
    assert len(tracks["A"].stems["vocals"]) == 2
    assert tracks["A"].stems["drums"] == (AudioRef(tmp_path / "audio" / "drums.wav"),)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "song,url\nx,y\n", "columns song, url"),
        ("a.csv", "track,drums\n,x.wav\n", "line 2 cannot be understood"),
        ("a.csv", "track,split,drums\nx,foo,x.wav\n", "split is 'foo'"),
        ("a.jsonl", '{"track": "a", "stems": {"drums": "x.wav"}}\n{"track"\n', "line 2 cannot"),
        ("a.jsonl", '{"track": "a"}\n', "line 1 cannot be understood"),
    ],
)
def test_a_broken_list_names_the_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_tracks(tmp_path / name)
