"""Mode usage: how the model answers, and who decided."""

from __future__ import annotations

from docker.grafana.panels import (
    ANY_IS_BAD,
    COUNT,
    RATE,
    SHARE,
    TOKENS,
    Limits,
    Panels,
    Series,
    graph,
    heat,
    number,
    quantiles,
    rate_by,
)

DECISIONS = "personadual_mode_decisions_total"
DISAGREEMENT = Limits(0.1, 0.15)

ROWS: Panels = {
    "Now": [
        number(
            "Personalised share",
            "Of the model's own choices in the last 15 minutes, at its card's threshold or another."
            " Forced modes do not count.",
            SHARE,
            Series("personadual:personalized_share:15m", "personalised"),
        ),
        number(
            "Decisions",
            "Replies that opened with a tag.",
            RATE,
            Series(f"sum(rate({DECISIONS}[$__rate_interval]))", "decisions"),
        ),
        number(
            "Replies without a tag",
            "In ten minutes. Any means that the engine runs without the gate.",
            COUNT,
            Series("round(sum(increase(personadual_untagged_replies_total[10m])))", "untagged"),
            limits=ANY_IS_BAD,
        ),
        number(
            "Shadow disagreement",
            "Of general answers asked again without the persona, how many differ: interference.",
            SHARE,
            Series("personadual:shadow_disagreement:1h", "different"),
            limits=DISAGREEMENT,
        ),
    ],
    "Decisions": [
        graph(
            "Share by mode",
            "What became of all replies, whoever decided.",
            SHARE,
            Series(
                f"sum by (mode) (rate({DECISIONS}[$__rate_interval]))"
                f" / on () group_left () (sum(rate({DECISIONS}[$__rate_interval])) > 0)",
                "{{mode}}",
            ),
            is_stacked=True,
        ),
        graph(
            "Probability of personalised mode",
            "Calibrated, as the gate compared it with the threshold.",
            SHARE,
            *quantiles("personadual_mode_probability", at=(0.5,)),
        ),
        heat(
            "Probabilities",
            "Mass at both ends is a model that is sure; the dial moves what lies between.",
            SHARE,
            "sum by (le) (increase(personadual_mode_probability_bucket[$__rate_interval]))",
        ),
        graph(
            "The model's share, and its last day",
            "Its own choices over 15 minutes. More than 20 points apart, for ten minutes, alerts.",
            SHARE,
            Series("personadual:personalized_share:15m", "15 minutes"),
            Series("personadual:personalized_share:1d", "1 day"),
        ),
        graph(
            "Who decided",
            "model at the card's threshold, threshold at another, request and policy by force,"
            " fallback because something was away.",
            RATE,
            rate_by(DECISIONS, "source"),
            is_stacked=True,
        ),
        graph(
            "What became of the persona",
            "applied in the context, withheld from it, absent, or unavailable with its store.",
            RATE,
            rate_by(DECISIONS, "persona"),
            is_stacked=True,
        ),
    ],
    "Interference and cost": [
        graph(
            "Answers asked again without the persona",
            "general_different is interference; personalized_different is what the persona is for.",
            RATE,
            rate_by("personadual_shadow_total", "outcome"),
        ),
        graph(
            "Tokens by mode",
            "As the engine counted them, of prompts and of completions.",
            TOKENS,
            Series(
                "sum by (mode, kind) (rate(personadual_tokens_total[$__rate_interval]))",
                "{{mode}} {{kind}}",
            ),
        ),
    ],
}
