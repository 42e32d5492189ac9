"""Words for benchmarks, in place of those of the package nltk."""

from __future__ import annotations

from typing import Final

WORDS: Final = (
    "acorn anchor apple arrow autumn basket beacon blanket branch bridge bronze butter cabin candle canyon carpet "
    "castle cedar chalk cherry circle cliff clock cloud coast copper corner cotton cradle crater crystal curtain "
    "desert diamond drift eagle ember engine fabric falcon feather fence field flame flute forest fossil garden "
    "ginger glacier grain granite grove hammer harbor harvest hazel hollow honey horizon island ivory jacket jungle "
    "kettle ladder lagoon lantern lemon letter linen lumber magnet maple marble meadow mirror mountain needle nickel "
    "oasis ocean orchard oyster paddle palace paper pebble pepper pillow planet pocket prairie quarry quartz ribbon "
    "river saddle salmon shadow silver spring stone summer temple thunder timber tunnel valley velvet village violet "
    "wagon walnut whisper willow window winter"
).split()
