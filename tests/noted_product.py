"""A product that only notes which of its commands are run, for what calls several of them."""

from __future__ import annotations


class Product:
    """Stands for the product's commands; `killed_in` does not come back."""

    def __init__(self, killed_in: str = "") -> None:
        self.ran: list[str] = []
        self.killed_in = killed_in

    def __call__(self, *arguments: object, processes: int = 1) -> None:
        self.ran.append(str(arguments[1]))
        if arguments[1] == self.killed_in:
            raise KeyboardInterrupt
