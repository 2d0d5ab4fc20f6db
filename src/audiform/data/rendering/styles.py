"""Styles of music, as far as they can be said in numbers.

Ranges are drawn from uniformly; names are keys of the tables of those who play.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """What songs of a style have in common.

    ``metres``, ``modes``, ``grooves``, ``basses`` and ``roles`` are drawn from (what is there
    twice, twice as often). ``classes`` are those of the instruments, ``distorted`` how often a
    guitar is. ``swing_share`` of the songs swing. ``synthetic`` is how often an instrument is a
    synthesiser, ``loose_ms`` how far players are from the grid, ``duck`` how often the kick
    pushes all others down, ``spoken`` how often a voice is, ``loud_db`` how hard a master is
    driven.
    """

    name: str
    weight: float
    bpm: tuple[float, float]
    metres: tuple[str, ...]
    modes: tuple[str, ...]
    grooves: tuple[str, ...]
    basses: tuple[str, ...]
    roles: tuple[str, ...]
    classes: tuple[str, ...]
    distorted: float = 0.0
    swing_share: float = 0.1
    synthetic: float = 0.15
    loose_ms: tuple[float, float] = (1.0, 7.0)
    duck: float = 0.0
    spoken: float = 0.03
    loud_db: tuple[float, float] = (-2.0, 4.0)


BRIGHT = ("major", "major", "mixolydian")
DARK = ("minor", "minor", "dorian")
ANY = (*BRIGHT, *DARK)
BAND = ("guitar", "guitar", "keys", "other")
MACHINES = (0.0, 1.5)

#: All styles; ``weight`` is how often one is drawn against the others.
STYLES = (
    Style("rock", 3.0, (88, 165), ("4/4",) * 8 + ("6/8", "3/4", "7/8"), ANY,
          ("backbeat", "backbeat", "half"), ("eighths", "locked", "riff"),
          ("power", "power", "strum", "riff", "lead", "pad"), BAND, distorted=0.75,
          synthetic=0.05, loud_db=(0.0, 7.0)),
    Style("metal", 1.5, (95, 210), ("4/4",) * 6 + ("7/8", "5/4", "6/8"),
          ("minor", "phrygian", "harmonic minor"), ("blast", "backbeat", "half"),
          ("locked", "eighths"), ("power", "power", "riff", "lead"), ("guitar",), distorted=1.0,
          synthetic=0.03, loose_ms=(0.5, 4.0), loud_db=(3.0, 9.0)),
    Style("punk", 1.0, (150, 205), ("4/4",), BRIGHT, ("backbeat", "blast"), ("eighths",),
          ("power", "power", "lead"), ("guitar",), distorted=0.95, synthetic=0.0,
          loud_db=(2.0, 8.0)),
    Style("pop", 3.0, (78, 132), ("4/4",) * 9 + ("6/8", "12/8"), ANY,
          ("backbeat", "four", "backbeat"), ("locked", "eighths", "sustained"),
          ("comp", "arpeggio", "pad", "strum", "stab", "riff"), BAND, distorted=0.2,
          synthetic=0.3, duck=0.2),
    Style("ballad", 2.0, (56, 88), ("4/4",) * 4 + ("6/8", "12/8", "3/4"), ANY,
          ("backbeat", "half", "brushes"), ("sustained", "locked"),
          ("arpeggio", "comp", "pad", "strum", "lead"), ("keys", "keys", "guitar", "other"),
          distorted=0.15, loose_ms=(3.0, 12.0)),
    Style("folk", 1.5, (75, 140), ("4/4", "4/4", "3/4", "6/8"), BRIGHT,
          ("brushes", "backbeat", "percussion"), ("roots", "sustained"),
          ("strum", "strum", "arpeggio", "lead", "riff"), ("guitar", "guitar", "other", "keys"),
          synthetic=0.0, loose_ms=(4.0, 13.0), loud_db=(-4.0, 1.0)),
    Style("soul", 2.0, (68, 118), ("4/4",) * 5 + ("12/8",), DARK,
          ("backbeat", "break"), ("syncopated", "locked"),
          ("comp", "stab", "riff", "pad", "lead"), ("keys", "keys", "guitar", "other"),
          swing_share=0.4, loose_ms=(3.0, 11.0)),
    Style("funk", 1.5, (90, 125), ("4/4",), DARK, ("break", "backbeat"),
          ("syncopated", "octaves", "riff"), ("comp", "stab", "riff", "strum"), BAND,
          swing_share=0.3, loose_ms=(2.0, 8.0)),
    Style("hip-hop", 2.0, (68, 104), ("4/4",), DARK, ("break", "trap", "half"),
          ("sustained", "syncopated"), ("comp", "riff", "pad", "arpeggio"),
          ("keys", "other", "guitar"), swing_share=0.5, synthetic=0.45, spoken=0.6,
          loose_ms=(0.0, 9.0), duck=0.2, loud_db=(1.0, 7.0)),
    Style("house", 2.0, (116, 130), ("4/4",), DARK, ("four",), ("offbeat", "octaves", "eighths"),
          ("stab", "pad", "comp", "arpeggio"), ("keys", "other"), synthetic=0.65,
          swing_share=0.25, loose_ms=MACHINES, duck=0.75, loud_db=(2.0, 8.0)),
    Style("trance", 1.5, (128, 145), ("4/4",), ("minor",), ("four",), ("offbeat", "sixteenths"),
          ("arpeggio", "pad", "stab", "riff"), ("keys", "other"), synthetic=0.85,
          loose_ms=MACHINES, duck=0.8, loud_db=(2.0, 8.0)),
    Style("breakbeat", 1.5, (135, 176), ("4/4",), DARK, ("break",), ("sustained", "syncopated"),
          ("pad", "stab", "arpeggio", "riff"), ("keys", "other"), synthetic=0.6,
          loose_ms=(0.0, 3.0), loud_db=(2.0, 8.0)),
    Style("electronic", 1.5, (84, 128), ("4/4",), ANY, ("four", "backbeat", "trap"),
          ("eighths", "sixteenths", "sustained"), ("arpeggio", "riff", "pad", "stab"),
          ("keys", "other"), synthetic=0.85, loose_ms=MACHINES, duck=0.35),
    Style("reggae", 1.0, (66, 92), ("4/4",), ANY, ("one drop",), ("syncopated", "riff"),
          ("skank", "skank", "lead", "pad"), ("guitar", "keys", "other"), swing_share=0.4),
    Style("jazz", 1.5, (80, 210), ("4/4",) * 4 + ("3/4", "5/4"), ("major", "dorian"),
          ("jazz", "brushes"), ("walking",), ("comp", "lead", "lead", "arpeggio"),
          ("keys", "other", "guitar"), swing_share=0.9, synthetic=0.0, loose_ms=(4.0, 14.0),
          loud_db=(-6.0, 0.0)),
    Style("blues", 1.0, (60, 125), ("4/4", "12/8", "12/8"), ("mixolydian",),
          ("backbeat", "brushes"), ("walking", "roots"), ("comp", "strum", "lead", "riff"), BAND,
          distorted=0.4, swing_share=0.6, synthetic=0.0, loose_ms=(4.0, 12.0)),
    Style("latin", 1.0, (88, 125), ("4/4",), ANY, ("percussion", "break"),
          ("syncopated", "roots"), ("comp", "stab", "strum", "lead"), ("keys", "guitar", "other"),
          synthetic=0.05),
    Style("unaccompanied", 0.6, (60, 110), ("4/4", "3/4"), ANY, ("none",), ("none",),
          ("pad", "arpeggio", "comp", "strum"), ("keys", "guitar", "other"), loud_db=(-8.0, -1.0)),
)  # fmt: skip
