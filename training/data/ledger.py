"""Ledger: what was kept and what was dropped, by source and reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.table import Table

from model.errors import PersonaDualError


class QuotaMissed(PersonaDualError):
    """A build has fewer rows than its recipe asks for."""

    code = "quota_missed"


@dataclass(slots=True)
class Ledger:
    """`kept` counts (source, stage), `dropped` (source, reason), `wanted` (source, stage)."""

    wanted: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def lines(self) -> list[tuple[str, str, str, str]]:
        """(source, "kept" or "dropped", stage or reason, count): sources in order; then others."""
        kept = [
            (source, "kept", stage, f"{self.kept[source, stage]} of {count}")
            for (source, stage), count in self.wanted.items()
            if count
        ]
        dropped = [
            (source, "dropped", reason, str(count))
            for (source, reason), count in sorted(self.dropped.items())
        ]
        order = {source: None for source, _what in (*self.wanted, *sorted(self.dropped))}
        return [line for source in order for line in (*kept, *dropped) if line[0] == source]

    def short(self) -> int:
        """Rows still missing from the quotas."""
        return sum((self.wanted - self.kept).values())

    def require(self) -> None:
        """See that no quota is missed.

        Raises:
            QuotaMissed: some are; it names them.
        """
        if not self.short():
            return
        parts = [
            f"{source}, {stage} ({self.kept[source, stage]} of {count})"
            for (source, stage), count in self.wanted.items()
            if self.kept[source, stage] < count
        ]
        raise QuotaMissed(
            f"{self.short()} short of the quotas: {'; '.join(parts)};"
            " --allow-short takes the files as they are"
        )

    def table(self) -> Table:
        table = Table("source", "", "what", "count", box=None, pad_edge=False)
        for line in self.lines():
            table.add_row(*line)
        return table

    def markdown(self) -> str:
        rows = [f"| {' | '.join(line)} |" for line in self.lines()]
        return "\n".join(["| source | | what | count |", "|---|---|---|---|", *rows])
