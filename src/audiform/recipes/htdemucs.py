"""HT Demucs: the hybrid with a transformer in the middle, and what is made of it."""

from __future__ import annotations

from fractions import Fraction

from audiform.augment.channel_swap import ChannelSwapConfig
from audiform.augment.layout import AugmentationConfig
from audiform.augment.polarity import PolarityConfig
from audiform.augment.remix import RemixConfig
from audiform.augment.repitch import RepitchConfig
from audiform.augment.shift import ShiftConfig
from audiform.models.htdemucs import HTDemucsConfig
from audiform.nn.lora import LoraConfig
from audiform.nn.sparse_attention import SparseAttentionConfig
from audiform.recipes.demucs import PUBLISHED_AUGMENTATIONS
from audiform.recipes.hdemucs import PUBLISHED_AVERAGES
from audiform.recipes.separation import SeparationRun
from audiform.recipes.start import StartConfig
from audiform.recipes.stems import SeparationData
from audiform.recipes.tiny import tiny_form
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.schedule import ConstantSchedule, CosineSchedule
from audiform.training.separation import SeparationLossConfig

#: What is left of the published changes where songs are not taken apart: no gains, no exchange,
#: and all stems of a song are shifted alike.
SONG_AUGMENTATIONS: tuple[AugmentationConfig, ...] = (
    RepitchConfig(share=0.2, max_tempo_percent=12.0),
    ShiftConfig(seconds=1.0, together=True),
    ChannelSwapConfig(),
    PolarityConfig(),
)

#: Network of the tiny forms; all of it counts from the first step on.
TINY_NETWORK = {
    "hidden_channels": 4,
    "n_fft": 1024,
    "depth": 3,
    "bottom_channels": 16,
    "transformer_layers": 3,
    "transformer_heads": 2,
    "transformer_layer_scale": False,
    "branch_compression": 4.0,
    "branch_initial_gain": 0.1,
    "segment_seconds": Fraction(1, 2),
}


def htdemucs() -> SeparationRun:
    """Train HT Demucs: 1200 epochs on 8 GPUs.

    S. Rouard, F. Massa, A. Défossez, "Hybrid Transformers for Music Source Separation",
    arXiv:2211.08553, table 1. To reach: 8.80 dB of SDR (BSSEval v4, median) over all stems of
    the MUSDB18-HQ test set, with 800 songs besides MUSDB that were not published; 7.52 dB on
    MUSDB alone. Originally on 8 V100 GPUs of 32 GB.

    1200 epochs of 800 batches of 32 (paper, section 4); the network, the averages and the
    dropout of the package's ``grids/mmi.py``. Segments of 10 s there, of which 7.8 s are left.
    """
    return SeparationRun(
        architecture="htdemucs",
        network=HTDemucsConfig(transformer_dropout=0.02),
        training=TrainingConfig(
            seed=42,
            batch_size=32,
            max_epochs=1200,
            steps_per_epoch=800,
            optimizer="adam",
            learning_rate=3e-4,
            schedule=ConstantSchedule(),
            averages=PUBLISHED_AVERAGES,
            num_workers=10,
        ),
        data=SeparationData(segment_seconds=7.8),
        augmentations=PUBLISHED_AUGMENTATIONS,
    )


def htdemucs_tiny() -> SeparationRun:
    """Train HT Demucs with three levels and few channels: seconds on a CPU."""
    return tiny_form(htdemucs(), network=TINY_NETWORK)


def htdemucs_sparse() -> SeparationRun:
    """Train Sparse HT Demucs, with segments of 12.2 s.

    arXiv:2211.08553, section 3 and table 2: attention keeps a tenth of the pairs, 7 layers,
    12.2 s. To reach: 8.94 dB of SDR over all stems of MUSDB18-HQ's test set with 800 more
    songs, 9.20 dB after fine-tuning each source (``htdemucs-ft-SOURCE`` on its checkpoint with
    the same ``network.sparse``).

    Batch 24 in groups of three, segments of 15 s, of which 12.2 s are left
    (``grids/mmi.py``, the sparse run); all else as ``htdemucs``. How pairs are chosen where the
    paper leaves it open: docs/models/sparse-htdemucs.md.
    """
    dense = htdemucs()
    return dense.model_copy(
        update={
            "network": HTDemucsConfig(
                transformer_layers=7,
                transformer_dropout=0.02,
                segment_seconds=Fraction(61, 5),
                sparse=SparseAttentionConfig(sparsity=0.9),
            ),
            "training": dense.training.model_copy(update={"batch_size": 24}),
            "data": SeparationData(segment_seconds=12.2, group_size=3),
            "augmentations": (*PUBLISHED_AUGMENTATIONS[:-1], RemixConfig(group_size=3)),
        }
    )


def htdemucs_sparse_tiny() -> SeparationRun:
    """Train Sparse HT Demucs with three levels and few channels: seconds on a CPU."""
    return tiny_form(htdemucs_sparse(), network=TINY_NETWORK)


def htdemucs_ft(source: str) -> SeparationRun:
    """Fine-tune HT Demucs for one source alone: 50 epochs on 4 GPUs.

    arXiv:2211.08553, table 1 and section 4. To reach, with one network per source: 9.00 dB
    of SDR over all stems of MUSDB18-HQ's test set (drums 10.08, bass 10.39, other 6.32,
    vocals 9.20), with 800 more songs.

    50 epochs, 1e-4, AdamW with a weight decay of 0.05, gradients of at most 5, batch 8, a
    loss over one source, no exchange of stems and no gains, all stems of a song shifted
    alike, averages over batches alone (``grids/mmi_ft.py``). There the decay is that of the
    transformer, here that of all matrices; an epoch is 800 batches, as in the first stage.
    """
    network = HTDemucsConfig(transformer_dropout=0.02)
    weights = tuple(float(name == source) for name in network.sources)
    return SeparationRun(
        architecture="htdemucs",
        network=network,
        training=TrainingConfig(
            seed=42,
            batch_size=8,
            max_epochs=50,
            steps_per_epoch=800,
            optimizer="adamw",
            learning_rate=1e-4,
            weight_decay=0.05,
            max_gradient_norm=5.0,
            schedule=ConstantSchedule(),
            averages=(AverageConfig(decay=0.9995), AverageConfig(decay=0.9999)),
            best=f"sdr_{source}",
            num_workers=10,
        ),
        data=SeparationData(segment_seconds=7.8, group_size=1),
        augmentations=SONG_AUGMENTATIONS,
        loss=SeparationLossConfig(source_weights=weights),
        start=StartConfig(checkpoint="htdemucs"),
    )


def htdemucs_ft_tiny() -> SeparationRun:
    """Fine-tune for vocals what htdemucs-tiny leaves (--from): seconds on a CPU."""
    recipe = htdemucs_ft("vocals").model_copy(update={"start": StartConfig()})
    return tiny_form(recipe, network=TINY_NETWORK)


def htdemucs_lora() -> SeparationRun:
    """Fine-tune HT Demucs with low-rank adapters: for own songs or new stems, on one GPU.

    Ours, without a published figure: adapters of rank 8 on all linear layers and convolutions of
    width 1 (0.8 M beside 42 M weights), 20 epochs of 400 batches of 4, AdamW 5e-4 down along a
    cosine. ``--set network.sources=[...]`` asks for other stems; their output layers are then
    trained whole.
    """
    return SeparationRun(
        architecture="htdemucs",
        network=HTDemucsConfig(transformer_dropout=0.02),
        training=TrainingConfig(
            seed=0,
            batch_size=4,
            max_epochs=20,
            steps_per_epoch=400,
            optimizer="adamw",
            learning_rate=5e-4,
            max_gradient_norm=5.0,
            schedule=CosineSchedule(warmup_share=0.02),
            averages=(AverageConfig(decay=0.999),),
            precision="bfloat16",
            num_workers=4,
        ),
        data=SeparationData(segment_seconds=7.8),
        augmentations=PUBLISHED_AUGMENTATIONS,
        start=StartConfig(checkpoint="htdemucs"),
        lora=LoraConfig(rank=8, alpha=16.0),
    )


def htdemucs_lora_tiny() -> SeparationRun:
    """Train adapters on what htdemucs-tiny leaves (--from): seconds on a CPU."""
    recipe = htdemucs_lora().model_copy(update={"start": StartConfig()})
    return tiny_form(recipe, network=TINY_NETWORK, settings={"lora.rank": 2})
