import pytest
import torch

from audiform.nn.frequency_bands import BandedDecoderLayer, BandedEncoderLayer
from audiform.nn.unet import UNetDecoderLayer, UNetEncoderLayer, UNetLayerShape

SHAPE = UNetLayerShape(
    over_frequency=True,
    kernel_size=8,
    stride=4,
    context=0,
    norm_groups=None,
    branch_depth=1,
    branch_compression=2.0,
    branch_initial_gain=0.5,
)
FEATURES = torch.randn(2, 4, 64, 5, generator=torch.Generator().manual_seed(0))
edges = pytest.mark.parametrize("edges", [(0.5,), (0.2, 0.45, 0.8)])


@edges
def test_bands_of_equal_weights_are_the_plain_encoder_layer(edges) -> None:
    plain = UNetEncoderLayer(4, 6, SHAPE)
    banded = BandedEncoderLayer(4, 6, SHAPE, edges=edges)
    for band in banded.bands:
        band.load_state_dict(plain.state_dict())
    torch.testing.assert_close(banded(FEATURES), plain(FEATURES), atol=1e-6, rtol=0)


@edges
@pytest.mark.parametrize("outermost", [False, True])
def test_bands_of_equal_weights_are_the_plain_decoder_layer(edges, outermost) -> None:
    plain = UNetDecoderLayer(4, 6, SHAPE, outermost=outermost)
    banded = BandedDecoderLayer(4, 6, SHAPE, edges=edges, outermost=outermost)
    for band in banded.bands:
        band.load_state_dict(plain.state_dict())
    expected = plain(FEATURES, 2 * FEATURES, 256)
    found = banded(FEATURES, 2 * FEATURES, 256)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_each_band_has_weights_of_its_own() -> None:
    banded = BandedEncoderLayer(4, 6, SHAPE, edges=(0.5,))
    before = banded(FEATURES)
    with torch.no_grad():
        banded.bands[1].gate.bias += 1
    after = banded(FEATURES)
    assert torch.equal(after[:, :, :7], before[:, :, :7])
    assert not torch.equal(after[:, :, 8:], before[:, :, 8:])
