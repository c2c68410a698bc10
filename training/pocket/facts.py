"""All makers of facts: each draws one `Fact` from the entities of one side of the split."""

from __future__ import annotations

import random
from collections.abc import Callable

from training.pocket import worked_out, world
from training.pocket.fact import Fact
from training.pocket.side import Side

Maker = Callable[[random.Random, Side], Fact]
MAKERS: dict[Maker, int] = {
    world.capital: 5,
    world.capital_of: 3,
    world.continent: 3,
    world.currency: 3,
    world.populous: 2,
    world.element: 4,
    worked_out.weekday: 2,
    worked_out.month_length: 1,
    world.holiday: 1,
    worked_out.unit: 3,
    worked_out.arithmetic: 5,
    worked_out.order: 3,
    worked_out.year_day: 1,
}
"""How often each maker is asked."""
