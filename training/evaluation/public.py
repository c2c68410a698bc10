"""Public sets: the rows of the paper's test sets, read into items without personas of others.

What cannot be judged is skipped with a reason and counted; a row without a field that its format
has is an error. An objective question stands as its set has it, with its options below it: no
order how to answer is added, as in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from model.mode import Mode
from model.persona import MAX_TEXT_CHARS
from model.reading import read_choice
from training.data.overlap import normalise
from training.data.recipe import Rows
from training.data.records import NoText, Record, read
from training.data.sources import LETTERS, Skip, between, digest, tidy_persona
from training.items import Condition, Item, Kind, flaw
from training.rewards import Match

DECISIONS = ("yes", "no", "maybe")
"""Of PubMedQA, as options A to C."""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """Where `datasets` finds a set (None: nowhere that is known), how many items the paper asks of
    it, and how a row becomes an item."""

    rows: Rows | None
    items: int
    adapt: Callable[[Record], Item | Skip]


def items_of(name: str, rows: Rows, columns: dict[str, str]) -> Iterator[Item | Skip]:
    """Every row of a set. `columns`: what a copy of it calls a column, by the set's own name.

    Raises:
        DataInvalid: a row cannot be read; it names file, line and field.
    """
    adapt = PUBLIC[name].adapt
    for record in read(rows):
        try:
            found = adapt(_renamed(record, columns))
        except NoText:
            found = Skip("no text")
        if isinstance(found, Skip):
            yield found
        elif flaw(found):
            yield Skip("no answer to check")
        else:
            yield replace(found, id=f"{name}-{found.id}")


def _renamed(record: Record, columns: dict[str, str]) -> Record:
    """The record under the set's own names."""
    renamed = {own: record.value(theirs) for own, theirs in columns.items()}
    return Record(record.place, {**record.fields, **renamed})


def _item(
    id: object,
    topic: str,
    question: str,
    answers: Sequence[str],
    match: Match,
    persona: str | None = None,
) -> Item:
    return Item(
        id=str(id),
        kind=Kind.OBJECTIVE if persona is None else Kind.PERSONALIZED,
        topic=topic,
        entity="",
        is_hard=False,
        mode=Mode.GENERAL if persona is None else Mode.PERSONALIZED,
        question=question.strip(),
        answers=list(answers),
        match=match,
        personas={} if persona is None else {Condition.ALIGNED: persona},
        traces={},
    )


def _choice(
    record: Record, id: object, topic: str, options: Sequence[str], letter: str | None
) -> Item | Skip:
    """A question with options below it, each on one line."""
    if len(options) > len(LETTERS):
        return Skip("too many options")
    if letter is None or letter not in LETTERS[: len(options)]:
        return Skip("answer is no option")
    told = (
        f"{name}. {' '.join(text.split())}" for name, text in zip(LETTERS, options, strict=False)
    )
    question = "\n".join([record.text("question").strip(), *told])
    return _item(id, topic, question, [letter], "mcq")


def _texts(record: Record, name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise record.wrong(name, "must be a list of texts")
    return value


def _mmlu_pro(record: Record) -> Item | Skip:
    """`question_id` (a number), `question`, `options` (up to ten), `answer` (a letter),
    `answer_index`, `cot_content`, `category`, `src`.

    Format seen: field list of TIGER-Lab/MMLU-Pro on the Hub. Its version 1.1 fills up to ten
    options with "N/A", which are left out.
    """
    options = _texts(record, "options", record.value("options"))
    while options and options[-1] == "N/A":
        options = options[:-1]
    letter = read_choice(record.text("answer"))
    index = record.value("answer_index")
    if letter is not None and index != LETTERS.index(letter):
        raise record.wrong("answer_index", "is not the option that answer names")
    return _choice(record, record.value("question_id"), record.text("category"), options, letter)


def _supergpqa(record: Record) -> Item | Skip:
    """`uuid`, `question`, `options` (up to ten), `answer` (the option's text), `answer_letter`,
    `discipline`, `field`, `subfield`, `difficulty`, `is_calculation`.

    Format seen: as public loaders of m-a-p/SuperGPQA read it (one JSONL file, split `train`).
    """
    options = _texts(record, "options", record.value("options"))
    letter = read_choice(record.text("answer_letter"))
    topic = record.text("discipline")
    return _choice(record, record.value("uuid"), topic, options, letter)


def _triviaqa(record: Record) -> Item | Skip:
    """`question`, `question_id`, `answer` (`value`, `aliases`, ...); further fields are not used.
    The closed-book form; the answers of its test split are not published.

    Format seen: field list of mandarjoshi/trivia_qa (rc.nocontext) on the Hub.
    """
    told = record.value("answer")
    if not isinstance(told, dict) or not isinstance(told.get("value"), str):
        raise record.wrong("answer.value", "must be text")
    aliases = _texts(record, "answer.aliases", told.get("aliases"))
    if told["value"] in ("", "<unk>"):
        return Skip("no answer to check")
    answers = dict.fromkeys(text for text in (told["value"], *aliases) if text.strip())
    id, question = record.value("question_id"), record.text("question")
    return _item(id, "trivia", question, list(answers), "text")


def _pubmedqa(record: Record) -> Item | Skip:
    """`pubid` (a number), `question`, `context` (the abstract), `long_answer`, `final_decision`
    (yes, no or maybe).

    Format seen: field list of qiaojin/PubMedQA (pqa_labeled) on the Hub. The question is asked
    without its abstract: the paper does not say, but its figures are those of closed-book answers.
    """
    decision = record.text("final_decision").strip().casefold()
    if decision not in DECISIONS:
        return Skip("no answer to check")
    letter = LETTERS[DECISIONS.index(decision)]
    return _choice(record, record.value("pubid"), "biomedicine", DECISIONS, letter)


def _math500(record: Record) -> Item | Skip:
    """`problem`, `solution`, `answer` (LaTeX), `subject`, `level`, `unique_id`.

    Format seen: field lists of copies of HuggingFaceH4/MATH-500 on the Hub. Answers are compared
    as in training, by their form; the paper has a model verify them.
    """
    id, topic = record.value("unique_id"), record.text("subject")
    return _item(id, topic, record.text("problem"), [record.text("answer")], "math")


def _pair(question: str, chosen: str, rejected: str, persona: str) -> Item | Skip:
    """Which of two replies suits the persona; the preferred one is right."""
    person = tidy_persona(persona)
    if not person:
        return Skip("no persona")
    if len(person) > MAX_TEXT_CHARS:
        return Skip("persona too long")
    if normalise(chosen) == normalise(rejected):
        return Skip("nothing to choose")
    text, letter = between(question, chosen, rejected)
    return _item(digest(text, letter, person), "two replies", text, [letter], "mcq", person)


def _persona_feedback(record: Record) -> Item | Skip:
    """`question`, `persona`, `chosen`, `rejected`.

    PersonaFeedback has a persona, a question and two replies of which people preferred one; under
    which names could not be seen, and the paper asks a translation. These are ours; `columns` says
    what a file calls them.
    """
    return _pair(
        record.text("question"),
        record.text("chosen"),
        record.text("rejected"),
        record.text("persona"),
    )


def _fspo_roleplay(record: Record) -> Item | Skip:
    """`x` (a question), `yw` and `yl` (the preferred reply and the other), `score_persona` (with
    `persona_description`); `level`, the persona's id, is not used.

    Format seen: as the authors' loader and others read sher222/persona-iterative-responses. FSPO
    shows earlier choices of a user; the paper shows the persona, and so do we.
    """
    told = record.value("score_persona")
    if not isinstance(told, dict) or not isinstance(told.get("persona_description"), str):
        raise record.wrong("score_persona.persona_description", "must be text")
    question, chosen, rejected = (record.text(name) for name in ("x", "yw", "yl"))
    return _pair(question, chosen, rejected, told["persona_description"])


def _hub(name: str, split: str, subset: str | None = None) -> Rows:
    return Rows(datasets=name, subset=subset, split=split)


PUBLIC: dict[str, PublicSet] = {
    "mmlu-pro": PublicSet(_hub("TIGER-Lab/MMLU-Pro", "test"), 1000, _mmlu_pro),
    "supergpqa": PublicSet(_hub("m-a-p/SuperGPQA", "train"), 1000, _supergpqa),
    "triviaqa": PublicSet(
        _hub("mandarjoshi/trivia_qa", "validation", "rc.nocontext"), 1000, _triviaqa
    ),
    "pubmedqa": PublicSet(_hub("qiaojin/PubMedQA", "train", "pqa_labeled"), 1000, _pubmedqa),
    "math500": PublicSet(_hub("HuggingFaceH4/MATH-500", "test"), 500, _math500),
    "persona-feedback": PublicSet(None, 1000, _persona_feedback),
    "fspo-roleplay": PublicSet(
        _hub("sher222/persona-iterative-responses", "test"), 1500, _fspo_roleplay
    ),
}
"""The paper's sets, by the names that the command takes."""
