"""`python -m docker.grafana` writes the boards' JSON anew."""

from __future__ import annotations

from docker.grafana.boards import boards
from docker.grafana.render import FOLDER, to_json

for name, board in boards().items():
    (FOLDER / f"{name}.json").write_text(to_json(board), encoding="utf-8")
