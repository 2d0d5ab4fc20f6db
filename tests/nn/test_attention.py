import torch
from torch import nn

from audiform.nn.attention import MultiHeadAttention
from audiform.nn.transformer import TokenNorm, TransformerLayer


def reference(width: int, heads: int, ours: MultiHeadAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(width, heads, batch_first=True)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.copy_(ours.query_key_value.bias)
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    return theirs


def test_self_attention_equals_torchs() -> None:
    ours = MultiHeadAttention(12, num_heads=3)
    theirs = reference(12, 3, ours)
    tokens = torch.randn(2, 7, 12)
    expected, _ = theirs(tokens, tokens, tokens)
    torch.testing.assert_close(ours(tokens), expected, atol=1e-6, rtol=1e-5)


def test_cross_attention_equals_torchs() -> None:
    ours = MultiHeadAttention(12, num_heads=3)
    theirs = reference(12, 3, ours)
    tokens, memory = torch.randn(2, 7, 12), torch.randn(2, 5, 12)
    expected, _ = theirs(tokens, memory, memory)
    torch.testing.assert_close(ours(tokens, memory), expected, atol=1e-6, rtol=1e-5)


def test_token_norm_equals_a_group_norm_of_one_group() -> None:
    norm = TokenNorm(6)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    tokens = torch.randn(2, 9, 6)
    plain = nn.functional.group_norm(tokens.transpose(1, 2), 1, norm.weight, norm.bias)
    torch.testing.assert_close(norm(tokens), plain.transpose(1, 2), atol=1e-6, rtol=1e-5)


def test_a_new_layer_is_nearly_the_norm_alone() -> None:
    layer = TransformerLayer(8, num_heads=2, hidden_width=16, cross=True)
    tokens, memory = torch.randn(1, 5, 8), torch.randn(1, 4, 8)
    torch.testing.assert_close(layer(tokens, memory), layer.norm_out(tokens), atol=1e-3, rtol=0)


def test_dropout_acts_in_training_alone_and_in_each_place() -> None:
    torch.manual_seed(0)
    options = {"num_heads": 2, "hidden_width": 16, "cross": False, "layer_scale": False}
    layer = TransformerLayer(8, dropout=0.5, **options)
    plain = TransformerLayer(8, **options)
    plain.load_state_dict(layer.state_dict(), strict=True)
    tokens = torch.randn(1, 5, 8)
    assert torch.equal(layer.eval()(tokens), plain.eval()(tokens))
    layer.train()
    for part in (layer.attention, layer.feed_forward, layer.dropout):
        draws = torch.stack([part(tokens) for _ in range(4000)])
        expected = part.eval()(tokens)
        assert not torch.equal(draws[0], draws[1])
        # dropout keeps the mean where nothing follows but sums
        spread = draws.std(dim=0) / 4000**0.5
        assert ((draws.mean(dim=0) - expected).abs() < 5 * spread + 1e-6).all()
