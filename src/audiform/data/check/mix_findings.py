"""Why stems do not add up to their mixture, in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from audiform.data.check.mixing import MixFit
from audiform.data.check.track_scan import TrackScan
from audiform.data.findings import Finding, Level
from audiform.data.track import MIXTURE

#: Difference between mixture and sum (dB) that is worth a word, and that spoils training.
WARNING_DB, ERROR_DB = -30.0, -12.0

#: The same of lossy files, whose coding noise does not add up either; below, it is but a note.
LOSSY_NOTE_DB, LOSSY_WARNING_DB, LOSSY_ERROR_DB = -18.0, -9.0, -6.0

#: Gains this close to each other are one, and this close to 1 are no finding.
SAME_GAIN = 0.03

#: A stem with less gain than this, and less to say than this (dB), is not in the mixture.
ABSENT_GAIN, ABSENT_DB = 0.15, -20.0

#: A delay explains something if it makes the difference smaller by so much (dB).
CLEAR_GAIN_DB = 8.0

#: Where all in all it adds up, blocks that differ by this much (dB) are worth a word, of those
#: above this share of the loudest block's energy: in a fade-out, rounding makes a difference.
PLACE_DB, LOSSY_PLACE_DB, LOUD_BLOCK, AUDIBLE_BLOCK = -14.0, -3.0, 1e-2, 1e-6

#: Gains this close to each other are one, if the mixture was mastered; what that leaves (dB).
MASTERED_GAIN, MASTERED_DB = 0.2, -15.0

#: Share of blocks that add up, from which the rest are places and not the rule.
MOSTLY = 0.5


def mix_findings(scan: TrackScan) -> Iterator[Finding]:
    """Yield what is wrong between a track's stems and its mixture."""
    fit = scan.mix
    if fit is None:
        return
    files = [file for file in scan.files if file.source != MIXTURE]
    names = [file.source for file in files]
    lossy = not all(file.is_lossless for file in scan.files)
    threshold = LOSSY_NOTE_DB if lossy else WARNING_DB
    level = Level.error if fit.difference_db > ERROR_DB else Level.warning
    found = partial(Finding, level, track=scan.track.name)
    if fit.difference_db <= threshold:
        places = _places(fit, LOSSY_PLACE_DB if lossy else PLACE_DB, LOUD_BLOCK, scan)
        if places:
            yield Finding(Level.warning, *_in_places(places), track=scan.track.name)
        return
    if fit.fitted_db <= threshold:
        yield from _gain_findings(fit, names, found)
        return
    moved = scan.misplaced
    if (
        moved is not None
        and moved.lag_samples
        and moved.difference_db < min(fit.fitted_db, fit.difference_db) - CLEAR_GAIN_DB
    ):
        milliseconds = 1000 * abs(moved.lag_samples) / scan.files[0].sample_rate
        who = "the sum of the stems" if moved.stem is None else f"the stem {names[moved.stem]!r}"
        when = "early" if moved.lag_samples > 0 else "late"
        yield found(
            "delay",
            f"{who} is {abs(moved.lag_samples)} samples ({milliseconds:.1f} ms) {when} "
            f"against the mixture{_gain(moved.gain)}",
            "move it by that, or export all in one go",
        )
        return
    if places := _places(fit, LOSSY_PLACE_DB if lossy else threshold, AUDIBLE_BLOCK, scan):
        yield found(*_in_places(places))
        return
    foreign = [name for name, absent in zip(names, _absent(fit), strict=True) if absent]
    if foreign:
        yield found(
            "foreign stem",
            f"{_listed(foreign)} not in the mixture: audio of another song or take, and the "
            f"mixture has something that no stem has (difference {fit.difference_db:.0f} dB)",
            "put the right file there",
        )
        return
    if fit.fitted_db < MASTERED_DB and _is_one_gain(fit, MASTERED_GAIN):
        middle = float(np.nanmedian(fit.gains))
        yield Finding(
            Level.note if lossy else Level.warning,
            "processed mixture",
            f"the mixture is about the sum of the stems{_gain(middle)}; what is left is at "
            f"{fit.fitted_db:.0f} dB: it was mastered (compressed, limited) or coded for itself",
            "without a file for it, the mixture is made from the stems",
            track=scan.track.name,
        )
        return
    if lossy:
        level = Level.error if fit.difference_db > LOSSY_ERROR_DB else Level.warning
        level = level if fit.difference_db > LOSSY_WARNING_DB else Level.note
    yield Finding(
        level,
        "does not add up",
        f"mixture and sum of the stems differ by {fit.difference_db:.0f} dB of the mixture, with "
        f"the best gains by {fit.fitted_db:.0f} dB",
        "a stem is missing, or something happened to the mixture: without a file for it, the "
        "mixture is made from the stems",
        track=scan.track.name,
    )


def _gain_findings(fit: MixFit, names: list[str], found: partial[Finding]) -> Iterator[Finding]:
    """Yield what the gains say: of all stems, or of those that differ."""
    if _is_one_gain(fit, SAME_GAIN):
        middle = float(np.nanmedian(fit.gains))
        yield found(
            "polarity" if middle < 0 else "gain mismatch",
            f"the mixture is the sum of the stems{_gain(middle)}",
            "scale the mixture, or leave out its file: it is made from the stems then",
        )
        return
    for name, gain, absent in zip(names, fit.gains, _absent(fit), strict=True):
        if np.isnan(gain) or abs(gain - 1.0) < SAME_GAIN:
            continue
        if absent:
            yield found(
                "foreign stem",
                f"the stem {name!r} is not in the mixture, which is the sum of the others",
                "take it away, or map it to nothing",
            )
        elif gain < 0:
            yield found(
                "polarity",
                f"the stem {name!r} is in the mixture with opposite polarity{_gain(-gain)}",
                "turn it round",
            )
        else:
            yield found(
                "gain mismatch",
                f"the stem {name!r} is in the mixture{_gain(gain)}",
                "scale the stem",
            )


def _is_one_gain(fit: MixFit, tolerance: float) -> bool:
    """Whether all stems that sound have nearly the same gain in the mixture."""
    known = fit.gains[~np.isnan(fit.gains)]
    return known.size > 0 and bool(np.ptp(known) <= 2 * tolerance * abs(np.median(known)))


def _absent(fit: MixFit) -> list[bool]:
    """Say of each stem whether it is not in the mixture; a silent one is."""
    pairs = zip(fit.gains, fit.parts_db, strict=True)
    return [bool(abs(gain) < ABSENT_GAIN and part < ABSENT_DB) for gain, part in pairs]


def _gain(gain: float) -> str:
    """Say a gain that is not 1, in words that can follow anything."""
    turned = ", turned round" if gain < 0 else ""
    if abs(abs(gain) - 1.0) < SAME_GAIN or gain == 0:
        return turned
    return f" at {20 * np.log10(abs(gain)):+.1f} dB{turned}"


def _in_places(places: str) -> tuple[str, str, str]:
    return (
        "differs in places",
        f"mixture and sum of the stems differ {places}, elsewhere they agree",
        "listen there: a drop-out, an edit, or a stem cut short",
    )


def _places(fit: MixFit, threshold: float, energy_share: float, scan: TrackScan) -> str:
    """Say where the difference lies, if most of the track adds up; empty otherwise.

    Blocks count whose energy is above ``energy_share`` of the loudest one's.
    """
    sounding = fit.block_energy > energy_share * fit.block_energy.max(initial=0.0)
    bad = sounding & (fit.block_difference_db > threshold)
    if not bad.any() or bad.sum() > (1.0 - MOSTLY) * sounding.sum():
        return ""
    seconds = max(file.num_samples for file in scan.files) / scan.files[0].sample_rate
    per_block = seconds / len(bad)
    first, last = np.flatnonzero(bad)[[0, -1]]
    begin, end = first * per_block, min(seconds, (last + 1) * per_block)
    return f"between {begin:.1f} s and {end:.1f} s"


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"the stem {names[0]!r} is"
    return f"the stems {', '.join(map(repr, names))} are"
