import pytest
import torch
import torch.nn.functional as F

from audiform.nn.framed_lstm import BidirectionalLSTM, FramedLSTM


def test_short_sequences_are_not_cut() -> None:
    layer = FramedLSTM(3)
    features = torch.randn(2, 3, 200)
    expected = features + BidirectionalLSTM.forward(layer, features)
    torch.testing.assert_close(layer(features), expected, atol=0, rtol=0)


@pytest.mark.parametrize("length", [201, 300, 301, 455])
def test_frames_equal_their_definition(length) -> None:
    """Each step from the frame in whose middle half it lies, frame by frame."""
    layer = FramedLSTM(3)
    features = torch.randn(2, 3, length)
    num_frames = -(-length // 100)
    filled = F.pad(features, (0, 200))
    expected = torch.zeros_like(features)
    for frame in range(num_frames):
        result = BidirectionalLSTM.forward(layer, filled[..., frame * 100 : frame * 100 + 200])
        first = 0 if frame == 0 else frame * 100 + 50
        last = length if frame == num_frames - 1 else min(length, frame * 100 + 150)
        if first < last:
            expected[..., first:last] = result[..., first - frame * 100 : last - frame * 100]
    torch.testing.assert_close(layer(features), features + expected)
