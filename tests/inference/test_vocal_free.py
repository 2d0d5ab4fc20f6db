from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from audiform import Audio, Separator
from audiform.checkpoints.file import write_checkpoint
from audiform.cli.main import app
from audiform.errors import ConfigError
from audiform.models.frame_transformer import FrameTransformer
from tests.models_for_tests import TINY_FRAME_TRANSFORMER, ShareModel

RATE = 44100


@pytest.fixture
def network():
    """Masks everywhere near one half: nobody sings."""
    torch.manual_seed(0)
    return FrameTransformer(TINY_FRAME_TRANSFORMER).eval()


def song(samples: int = 12_000) -> torch.Tensor:
    return 0.2 * torch.randn(2, samples, generator=torch.Generator().manual_seed(1))


def test_a_song_that_nobody_sings_is_its_instrumental(network) -> None:
    mixture = song()
    plain = Separator(network).separate(Audio(mixture, RATE))
    keeping = Separator(network)
    keeping.keep_vocal_free()
    kept = keeping.separate(Audio(mixture, RATE))
    assert plain["vocals"].samples.abs().max() > 0.01
    torch.testing.assert_close(kept["instrumental"].samples, mixture, atol=1e-5, rtol=0)
    assert kept["vocals"].samples.abs().max() < 1e-5
    assert network.config.vocal_free is None  # the caller's network is as it was


def test_only_a_mask_of_the_instruments_tells_where_nobody_sings(network) -> None:
    with pytest.raises(ConfigError, match=r"'sharemodel' has no mask.*rest_source"):
        Separator(ShareModel()).keep_vocal_free()
    each = network.config.model_copy(update={"rest_source": False})
    with pytest.raises(ConfigError, match="rest_source"):
        Separator(FrameTransformer(each)).keep_vocal_free()


def test_the_command_line_keeps_them_too(network, tmp_path) -> None:
    import soundfile

    path = write_checkpoint(
        tmp_path / "small.safetensors",
        architecture="frame-transformer",
        config=network.config,
        state=network.state_dict(),
        sources=network.config.sources,
        sample_rate=RATE,
    )
    soundfile.write(tmp_path / "song.wav", song().T.numpy(), RATE, "FLOAT")
    command = ["separate", str(tmp_path / "song.wav"), "-o", str(tmp_path / "out"), "--float32"]
    result = CliRunner().invoke(app, [*command, "-n", str(path), "--keep-vocal-free"])
    assert result.exit_code == 0, result.output
    vocals, _ = soundfile.read(tmp_path / "out" / "small" / "song" / "vocals.wav")
    assert abs(vocals).max() < 1e-5
    refused = CliRunner().invoke(app, [*command, "--keep-vocal-free"])
    assert refused.exit_code != 0
    assert "no mask that says where nobody sings" in " ".join(refused.output.split())
