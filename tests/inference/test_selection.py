import numpy as np
import pytest

from audiform.errors import ConfigError
from audiform.inference.clipping import output_gains
from audiform.inference.pipeline import StemBlock
from audiform.inference.selection import select_stems

SOURCES = ("drums", "bass", "vocals")


def block() -> StemBlock:
    generator = np.random.default_rng(0)
    return StemBlock(
        mixture=generator.standard_normal((2, 50), dtype=np.float32),
        stems=generator.standard_normal((3, 2, 50), dtype=np.float32),
    )


def test_all_sources_by_default() -> None:
    selection = select_stems(SOURCES)
    assert selection.names == SOURCES
    np.testing.assert_array_equal(selection.apply(block()), block().stems)
    assert selection.needed_sources == (True, True, True)


@pytest.mark.parametrize("method", ["none", "add", "minus"])
def test_two_stems(method) -> None:
    part = block()
    selection = select_stems(SOURCES, two_stems="bass", other_method=method)
    outputs = dict(zip(selection.names, selection.apply(part), strict=True))
    np.testing.assert_allclose(outputs["bass"], part.stems[1])
    if method == "none":
        assert list(outputs) == ["bass"]
        assert selection.needed_sources == (False, True, False)
    elif method == "add":
        np.testing.assert_allclose(outputs["no_bass"], part.stems[0] + part.stems[2], atol=1e-6)
        assert selection.needed_sources == (True, True, True)
    else:
        np.testing.assert_allclose(outputs["minus_bass"], part.mixture - part.stems[1], atol=1e-6)
        assert selection.needed_sources == (False, True, False)


@pytest.mark.parametrize("two_stems", [None, "vocals"])
@pytest.mark.parametrize("method", ["none", "add", "minus"])
def test_with_the_residual_all_outputs_sum_to_the_mixture(two_stems, method) -> None:
    part = block()
    selection = select_stems(SOURCES, two_stems=two_stems, other_method=method, residual=True)
    assert selection.names[-1] == "residual"
    np.testing.assert_allclose(selection.apply(part).sum(axis=0), part.mixture, atol=1e-5)


def test_an_unknown_stem_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="drums, bass, vocals"):
        select_stems(SOURCES, two_stems="piano")


def test_gains() -> None:
    peaks = np.array([0.5, 2.0, 1.0], dtype=np.float32)
    np.testing.assert_allclose(output_gains("common", peaks), [1 / 2.02] * 3, rtol=1e-6)
    np.testing.assert_allclose(output_gains("common", peaks[:1]), [1.0])
    np.testing.assert_allclose(output_gains("rescale", peaks), [1, 1 / 2.02, 1 / 1.01], rtol=1e-6)
    np.testing.assert_allclose(output_gains("none", peaks), [1, 1, 1])
