"""Whether the levels of a U-Net can be built, for its configuration to ask before it is."""

from __future__ import annotations

from collections.abc import Sequence

from audiform.nn.local_attention import NUM_HEADS


def check_norms(channels: Sequence[int], *, norm_starts: int, norm_groups: int) -> None:
    """Raise ValueError unless the groups of the norms divide the channels of their levels.

    ``channels`` are those of each level, the outermost first. The norm of a decoder's layer
    is on the level outside it: the first one is at ``norm_starts - 1``.
    """
    for level in range(norm_starts - 1, len(channels)):
        if channels[level] % norm_groups:
            raise ValueError(
                f"level {level} has {channels[level]} channels, which norm_groups = {norm_groups} "
                "must divide; change one of them"
            )


def check_branches(channels: Sequence[int], *, compression: float, attention_starts: int) -> None:
    """Raise ValueError unless each level's residual branches have a width, and heads divide it."""
    for level, outer in enumerate(channels):
        width = int(outer / compression)
        heads = NUM_HEADS if level >= attention_starts else 1
        if width < 1 or width % heads:
            raise ValueError(
                f"the residual branches of level {level} are {width} wide, which must be a "
                f"multiple of {heads}; lower branch_compression or raise hidden_channels"
            )


def check_frame_heads(num_bins: int, *, levels: int, num_heads: int) -> None:
    """Require that ``num_heads`` divide the bins of the deepest of ``levels``; each halves them."""
    deepest = num_bins / 2 ** (levels - 1)
    if deepest % num_heads:
        raise ValueError(
            f"the deepest of {levels} levels has {deepest:g} bins, which num_heads = {num_heads} "
            "must divide; change n_fft, channel_factors or num_heads"
        )
