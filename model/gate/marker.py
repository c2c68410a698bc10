"""The gate's rule for a grammar that waits: the answer's marker ends where a token ends.

A tokenizer may fuse the marker's last character with what follows it (`>"`). Then the marker's end
lies within a token, no grammar can begin there, and the answer is free without anybody's noticing.
So while a grammar waits, a token that completes the marker and carries more is forbidden; the same
text stays open by plainer tokens. Pure: torch and our own words, nothing of vLLM.

A *place* says how much of the marker the text so far ends with, in characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from model.reply import OPEN

BEGIN, WHOLE = 0, len(OPEN)
"""No character of the marker yet; and all of it: from there on the grammar holds, none waits."""
REACH = len(OPEN)
"""So many last tokens hold the marker whole: each that is part of it brings a character."""


class MarkerRule:
    """What each token makes of each place, worked out once for a tokenizer.

    Args:
        vocabulary: the tokenizer's own, `{piece: id}`. The marker is of plain ASCII letters, which
            every kind of tokenizer writes as themselves.
        device: where the logits live.
    """

    def __init__(self, vocabulary: Mapping[str, int], device: torch.device) -> None:
        places = range(WHOLE + 1)
        self._others = max(vocabulary.values()) + 1  # a row for ids that the tokenizer lacks
        after = np.zeros((self._others + 1, len(places)), dtype=np.int8)
        onward: list[tuple[int, int]] = [(0, 0)] * len(places)
        fused: dict[int, list[int]] = {}
        for piece, token in vocabulary.items():
            if piece[-1:] not in OPEN and OPEN[-1] not in piece:
                continue  # nearly every token: behind it stands no part of the marker
            for place in places:
                text = OPEN[:place] + piece
                after[token, place] = _place_of(text)
                if place == WHOLE:
                    continue
                if OPEN[place:].startswith(piece):
                    onward[place] = max(onward[place], (len(piece), token))
                if OPEN in text and not text.endswith(OPEN):
                    fused.setdefault(token, []).append(place)
        self._after_host = after
        self._after = torch.from_numpy(after).to(device)
        self._onward = torch.tensor([token for _, token in onward], device=device)
        self._fused = torch.tensor(list(fused), dtype=torch.int64, device=device)
        is_fused = torch.zeros((len(places), len(fused)), dtype=torch.bool)
        for column, at in enumerate(fused.values()):
            is_fused[at, column] = True
        self._is_fused = is_fused.to(device)
        self._binds = is_fused.any(1).tolist()

    def binds(self, place: int) -> bool:
        """Whether anything is forbidden at this place."""
        return bool(self._binds[place])

    def follow(self, place: int, tokens: Iterable[int]) -> int:
        """The place behind these tokens; `WHOLE` as soon as the marker was whole."""
        for token in tokens:
            if place == WHOLE:
                break
            place = int(self._after_host[self._row(token), place])
        return place

    def read(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The place behind the last of some rows' tokens `[R, L]`, and behind which of them the
        marker was whole, `[R, L]`. An id that is none, such as -1, stands for other text."""
        is_known = (tokens >= 0) & (tokens < self._others)
        tokens = torch.where(is_known, tokens, self._others)
        places = [torch.full_like(tokens[:, 0], BEGIN)]
        for column in tokens.unbind(1):
            places.append(self._after[column, places[-1]].long())
        return places[-1], torch.stack(places[1:], 1) == WHOLE

    def bind(self, logits: torch.Tensor, rows: torch.Tensor, places: torch.Tensor) -> None:
        """Forbid the fused tokens of rows in which a grammar waits. Changes `logits` in place.

        A row in which the plain way on is forbidden already stays as it is: nothing may be left.

        Args:
            logits: `[N, V]`.
            rows: `[R]` rows of `logits`.
            places: `[R]` where each row's text stands; `WHOLE` where no grammar waits.
        """
        is_open = ~torch.isneginf(logits[rows, self._onward[places]])
        is_bound = self._is_fused[places] & is_open[:, None]
        at = (rows[:, None], self._fused[None])
        logits[at] = logits[at].masked_fill(is_bound, float("-inf"))

    def _row(self, token: int) -> int:
        return token if 0 <= token < self._others else self._others


def _place_of(text: str) -> int:
    return next(count for count in range(WHOLE, -1, -1) if text.endswith(OPEN[:count]))
