"""``audiform separate`` as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audiform.checkpoints import write_checkpoint
from audiform.cli.main import app
from audiform.cli.separate import Format
from audiform.io import WRITERS
from tests.models_for_tests import SOURCES, TINY_HTDEMUCS, tiny_htdemucs

runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp("model") / "tiny.safetensors",
        architecture="htdemucs",
        config=TINY_HTDEMUCS,
        state=tiny_htdemucs().state_dict(),
        sources=TINY_HTDEMUCS.sources,
        sample_rate=44100,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def song(path: Path, *, seconds: float = 1.3, rate: int = 44100, channels: int = 2, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(len(path.name))
    samples = 0.4 * generator.uniform(-1, 1, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate, **options)
    return path


def run(*arguments: object, code: int = 0):
    result = runner.invoke(app, ["separate", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def stems_of(*folders: Path) -> list[str]:
    return sorted(path.name for folder in folders for path in folder.iterdir())


def test_a_song_becomes_four_stems_of_its_kind(folder, checkpoint) -> None:
    song(folder / "My Song.flac", rate=48000, channels=1, subtype="PCM_24")
    result = run("My Song.flac", "-n", checkpoint)
    out = folder / "separated" / "tiny" / "My Song"
    assert stems_of(out) == sorted(f"{name}.wav" for name in SOURCES)
    info = soundfile.info(out / "vocals.wav")
    assert (info.frames, info.samplerate, info.channels) == (62400, 48000, 1)
    assert info.subtype == "PCM_24"
    assert "real time" in result.output


@pytest.mark.parametrize("format", [name for name in WRITERS])
def test_every_format(folder, checkpoint, format) -> None:
    song(folder / "a.wav")
    run("a.wav", "-n", checkpoint, "--format", format, "-o", "out")
    extension = WRITERS[format].extension
    assert stems_of(folder / "out" / "tiny" / "a") == sorted(s + extension for s in SOURCES)


def test_the_formats_of_the_flag_are_those_that_can_be_written() -> None:
    assert [item.value for item in Format] == list(WRITERS)


def test_demucs_flags(folder, checkpoint) -> None:
    song(folder / "a.wav")
    run("a.wav", "-n", checkpoint, "--two-stems=vocals", "--mp3", "--mp3-bitrate", 128,
        "--mp3-preset", 7, "-d", "cpu", "--shifts", 1, "--overlap", 0.1, "--segment", 0.4, "-j", 2,
        "--filename", "{stem}-{track}-{trackext}.{ext}", "-o", "out",
        "--clip-mode", "rescale")  # fmt: skip
    assert stems_of(folder / "out" / "tiny") == ["no_vocals-a-wav.mp3", "vocals-a-wav.mp3"]


def test_float32_is_exact_with_the_residual(folder, checkpoint) -> None:
    path = song(folder / "a.wav", subtype="PCM_16")
    run(path, "-n", checkpoint, "--float32", "--residual")
    out = folder / "separated" / "tiny" / "a"
    assert len(stems_of(out)) == 5
    total = sum(soundfile.read(part)[0] for part in out.iterdir())
    assert 20 * np.log10(np.abs(total - soundfile.read(path)[0]).max()) < -90


def test_compat_restores_demucs_defaults(folder, checkpoint) -> None:
    song(folder / "a.wav", rate=48000, subtype="PCM_24")
    run("a.wav", "-n", checkpoint, "--compat", "demucs")
    info = soundfile.info(folder / "separated" / "tiny" / "a" / "bass.wav")
    assert (info.samplerate, info.subtype) == (44100, "PCM_16")


def test_two_runs_give_the_same_bytes(folder, checkpoint) -> None:
    song(folder / "a.wav")
    for out in ("one", "two"):
        run("a.wav", "-n", checkpoint, "-o", out, "--shifts", 2, "--format", "flac")
    for name in SOURCES:
        one, two = (folder / out / "tiny" / "a" / f"{name}.flac" for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_shifts_are_a_number_or_half(folder, checkpoint) -> None:
    song(folder / "a.wav", seconds=0.3)
    run("a.wav", "-n", checkpoint, "-o", "out", "--shifts", "half")
    assert len(stems_of(folder / "out" / "tiny" / "a")) == 4
    run("a.wav", "-n", checkpoint, "-o", "out", "--shifts", "few", code=2)


def test_folders_patterns_and_trees(folder, checkpoint) -> None:
    for name in ("in/a.wav", "in/sub/b.wav", "in/sub/c.flac"):
        song(folder / name, seconds=0.2)
    run("in", "-n", checkpoint, "-o", "flat")
    assert stems_of(folder / "flat" / "tiny") == ["a"]
    run("-r", "in", "-n", checkpoint, "-o", "tree")
    assert (folder / "tree" / "tiny" / "sub" / "c" / "drums.wav").is_file()
    run("in/sub/*.wav", "-n", checkpoint, "-o", "pattern")
    assert stems_of(folder / "pattern" / "tiny") == ["b"]


def test_stems_of_an_earlier_run_are_no_songs(folder, checkpoint) -> None:
    song(folder / "a.wav", seconds=0.2)
    for _ in range(2):
        run("-r", ".", "-n", checkpoint)
    assert stems_of(folder / "separated" / "tiny") == ["a"]
    run("separated/tiny/a/bass.wav", "-n", checkpoint)
    assert stems_of(folder / "separated" / "tiny") == ["a", "bass"]


def test_inputs_of_one_name_do_not_overwrite_each_other(folder, checkpoint) -> None:
    song(folder / "x" / "a.wav", seconds=0.2)
    song(folder / "y" / "a.wav", seconds=0.3)
    song(folder / "a.flac", seconds=0.1)
    run("x/a.wav", "y/a.wav", "a.flac", "-n", checkpoint)
    lengths = {soundfile.info(p).frames for p in (folder / "separated").rglob("drums.wav")}
    assert lengths == {8820, 13230, 4410}
    run("x/a.wav", "y/a.wav", "-n", checkpoint, "--filename", "{stem}.{ext}", code=2)


def test_bad_files_fail_and_the_others_are_done(folder, checkpoint) -> None:
    song(folder / "good.wav", seconds=0.2)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("these are words")
    (folder / "folder").mkdir()
    with_nan = np.zeros((500, 2), dtype=np.float32)
    with_nan[70] = np.nan
    soundfile.write(folder / "nan.wav", with_nan, 44100, subtype="FLOAT")
    names = ["empty.wav", "text.wav", "nan.wav", "missing.wav", "folder", "good.wav"]
    result = run(*names, "-n", checkpoint, code=1)
    for name in names[:-1]:
        assert f"failed: {name}" in result.output, result.output
    assert "1 done, 5 failed" in result.output
    assert stems_of(folder / "separated" / "tiny") == ["good"]


def test_skip_existing_fills_the_gaps(folder, checkpoint) -> None:
    for name in ("a.wav", "b.wav"):
        song(folder / name, seconds=0.2)
    run("a.wav", "-n", checkpoint)
    done = folder / "separated" / "tiny" / "a" / "vocals.wav"
    before = done.stat().st_mtime_ns
    result = run("a.wav", "b.wav", "-n", checkpoint, "--skip-existing")
    assert "1 done, 1 skipped" in result.output
    assert done.stat().st_mtime_ns == before
    done.unlink()
    run("a.wav", "-n", checkpoint, "--skip-existing")
    assert done.is_file()


def test_json_and_report(folder, checkpoint) -> None:
    song(folder / "é 日本.wav", seconds=0.2)
    result = run(
        "é 日本.wav", "gone.wav", "-n", checkpoint, "--json", "--report", "r.jsonl", code=1
    )
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["status"] for record in records] == ["failed", "done"]
    (line,) = (folder / "r.jsonl").read_text(encoding="utf-8").splitlines()
    record = json.loads(line)
    assert record["input"] == "é 日本.wav"
    assert record["model"] == "tiny"
    assert set(record["outputs"]) == set(SOURCES)
    assert record["num_samples"] == 8820


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.wav", "--no-such-flag"],
        [],
        ["a.wav", "--int24", "--float32"],
        ["a.wav", "--mp3", "--flac"],
        ["a.wav", "--two-stems", "piano"],
        ["a.wav", "--overlap", "1.5"],
        ["a.wav", "--rate", "fast"],
        ["a.wav", "--segment", "9"],
        ["a.wav", "-d", "toaster"],
        ["a.wav", "--filename", "{artist}.{ext}"],
        ["a.wav", "--filename", "../{stem}.{ext}"],
        ["a.wav", "--no-split", "--segment", "0.3"],
    ],
)
def test_usage_errors(folder, checkpoint, arguments) -> None:
    song(folder / "a.wav", seconds=0.2)
    run(*arguments, "-n", checkpoint, code=2)
    assert not list(folder.rglob("*.part"))


def test_an_unknown_model_says_what_there_is(folder) -> None:
    song(folder / "a.wav", seconds=0.2)
    result = run("a.wav", "-n", "htdemux", code=1)
    assert "htdemucs" in result.output


def test_stem_files_keep_the_tags(folder, checkpoint) -> None:
    import av

    song(folder / "plain.wav", seconds=0.4)
    with av.open("plain.wav") as source, av.open("tagged.mp3", "w") as target:
        target.metadata["title"] = "Où est le café"
        stream = target.add_stream("mp3", rate=44100)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    run("tagged.mp3", "-n", checkpoint, "--flac")
    with av.open("separated/tiny/tagged/drums.flac") as stem:
        tags = {key.lower(): value for key, value in stem.metadata.items()}
    assert tags["title"] == "Où est le café"
    run("tagged.mp3", "-n", checkpoint, "--flac", "--no-tags", "-o", "bare")
    with av.open("bare/tiny/tagged/drums.flac") as stem:
        assert "title" not in {key.lower() for key in stem.metadata}


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_only_whole_files(folder, checkpoint, blow) -> None:
    for index in range(4):
        song(folder / f"{index}.wav", seconds=2)
    command = [sys.executable, "-m", "audiform", "separate", ".", "-n", str(checkpoint)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # whoever runs the tests in the background may have told their children to ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("separated/tiny/*/vocals.wav")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, blow)
    process.communicate(timeout=60)
    assert process.returncode == (130 if blow == signal.SIGINT else -signal.SIGKILL)
    for path in folder.glob("separated/tiny/*/*.wav"):
        assert soundfile.info(path).frames == 2 * 44100
    if blow == signal.SIGINT:
        assert not list(folder.rglob("*.part"))
    run(".", "-n", checkpoint, "--skip-existing")
    assert len(list(folder.glob("separated/tiny/*/*.wav"))) == 16
    assert not list(folder.rglob("*.part"))


def test_devices_side_by_side_share_the_files(checkpoint, folder) -> None:
    for number in range(3):
        song(folder / f"song{number}.wav", seconds=1.0 + number / 4)
    (folder / "broken.wav").write_bytes(b"RIFF")
    songs = sorted(folder.glob("*.wav"))
    run("-n", checkpoint, "-d", "cpu", "--backend", "torch", "-o", "one", *songs, code=1)
    arguments = ("-n", checkpoint, "-d", "cpu,cpu", "--backend", "torch", "--report", "lines.jsonl")
    both = run(*arguments, "-o", "both", *songs, code=1)
    assert "on cpu, cpu, side by side" in both.output
    lines = [json.loads(line) for line in Path("lines.jsonl").read_text().splitlines()]
    assert sorted(Path(line["input"]).name for line in lines if line["status"] == "done") == [
        *("song0.wav", "song1.wav", "song2.wav")
    ]
    written = sorted(Path("one").rglob("*.wav"))
    assert len(written) == 3 * len(SOURCES)
    for path in written:
        assert path.read_bytes() == (Path("both") / path.relative_to("one")).read_bytes()
    again = run(*arguments, "-o", "both", "--skip-existing", *songs, code=1)
    assert again.output.count("skipped, its stems are there") == 3


def test_each_of_several_devices_must_be_there(checkpoint, folder) -> None:
    path = song(folder / "song.wav")
    result = run("-n", checkpoint, "-d", "cpu,cuda:77", path, code=2)
    assert "cuda:77" in result.output and not Path("separated").exists()
