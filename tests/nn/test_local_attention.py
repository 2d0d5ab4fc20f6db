import math

import torch

from audiform.nn.local_attention import LocalAttention


def test_it_equals_its_definition_step_by_step() -> None:
    """Scores, decays and sums one by one, much less efficiently."""
    torch.manual_seed(0)
    layer = LocalAttention(8).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    features = torch.randn(1, 8, 6, dtype=torch.float64)
    query, key, value, decay = (
        step(features)[0].reshape(4, -1, 6)
        for step in (layer.query, layer.key, layer.value, layer.decay)
    )
    found = torch.zeros(4, 2, 6, dtype=torch.float64)
    for head in range(4):
        for at in range(6):
            scores = []
            for other in range(6):
                slope = sum((n + 1) * torch.sigmoid(decay[head, n, at]) / 4 for n in range(4))
                score = (query[head, :, at] * key[head, :, other]).sum() / math.sqrt(2)
                scores.append(
                    -100.0 if other == at else (score - slope * abs(at - other)).item()
                )  # fmt: skip
            weights = torch.softmax(torch.tensor(scores, dtype=torch.float64), dim=0)
            found[head, :, at] = (value[head] * weights).sum(-1)
    expected = features + layer.output(found.reshape(1, 8, 6))
    torch.testing.assert_close(layer(features), expected)


def test_at_the_start_it_reaches_far() -> None:
    layer = LocalAttention(8)
    assert torch.equal(layer.decay.bias, torch.full((16,), -2.0))
    assert layer.decay.weight.abs().max() < 0.01


def test_a_single_step_finds_itself() -> None:
    layer = LocalAttention(4)
    features = torch.randn(2, 4, 1)
    expected = features + layer.output(layer.value(features))
    torch.testing.assert_close(layer(features), expected)
