"""Small files in the formats of the paper's test sets."""

from __future__ import annotations

from typing import Any

OPTIONS = ["a lever", "a pulley", "a wedge", "a screw"]


def mmlu_pro(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "question_id": number,
        "question": f"Which machine lifts load number {number} by a rope?",
        "options": OPTIONS,
        "answer": "B",
        "answer_index": 1,
        "cot_content": "",
        "category": "physics",
        "src": "ori_mmlu-physics",
    }
    return row | fields


def supergpqa(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "uuid": f"{number:032x}",
        "question": f"Which machine lifts load number {number} by a rope?",
        "options": OPTIONS,
        "answer": "a pulley",
        "answer_letter": "B",
        "discipline": "Engineering",
        "field": "Mechanical Engineering",
        "subfield": "Machines",
        "difficulty": "middle",
        "is_calculation": False,
    }
    return row | fields


def triviaqa(number: int, **fields: Any) -> dict[str, Any]:
    answer = {
        "aliases": [f"Writer {number}", f"W. Number {number}"],
        "normalized_aliases": [f"writer {number}"],
        "matched_wiki_entity_name": "",
        "normalized_matched_wiki_entity_name": "",
        "normalized_value": f"writer {number}",
        "type": "WikipediaEntity",
        "value": f"Writer {number}",
    }
    row = {
        "question": f"Who wrote volume {number}?",
        "question_id": f"tc_{number}",
        "question_source": "http://www.triviacountry.com/",
        "entity_pages": {"doc_source": [], "filename": [], "title": [], "wiki_context": []},
        "search_results": {"description": [], "filename": [], "rank": [], "title": []},
        "answer": answer,
    }
    return row | fields


def pubmedqa(number: int, **fields: Any) -> dict[str, Any]:
    context = {
        "contexts": ["We asked 40 patients."],
        "labels": ["METHODS"],
        "meshes": ["Humans"],
        "reasoning_required_pred": ["m"],
        "reasoning_free_pred": ["y"],
    }
    row = {
        "pubid": 21_000_000 + number,
        "question": f"Does drug {number} help?",
        "context": context,
        "long_answer": "It seems so.",
        "final_decision": ("yes", "no", "maybe")[number % 3],
    }
    return row | fields


def math500(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "problem": rf"What is $\frac{{{number}}}{{7}}$ of $1$?",
        "solution": rf"It is $\boxed{{\frac{{{number}}}{{7}}}}$.",
        "answer": rf"\frac{{{number}}}{{7}}",
        "subject": "Algebra",
        "level": 2,
        "unique_id": f"test/algebra/{number}.json",
    }
    return row | fields


def persona_feedback(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "persona": f"I am a climber who trains {number} times a month.",
        "question": "How should I spend the evening?",
        "chosen": f"Go climbing with group {number}.",
        "rejected": f"Stay in and read book {number}.",
    }
    return row | fields


def fspo_roleplay(number: int, **fields: Any) -> dict[str, Any]:
    persona = {
        "persona_description": f"I am a climber who trains {number} times a month.",
        "persona_uuid": f"cdf7cefb-{number:04}",
    }
    row = {
        "x": "How should I spend the evening?",
        "yw": f"Go climbing with group {number}.",
        "yl": f"Stay in and read book {number}.",
        "score_persona": persona,
        "level": f"cdf7cefb-{number:04}",
    }
    return row | fields


MAKERS = {
    "mmlu-pro": mmlu_pro,
    "supergpqa": supergpqa,
    "triviaqa": triviaqa,
    "pubmedqa": pubmedqa,
    "math500": math500,
    "persona-feedback": persona_feedback,
    "fspo-roleplay": fspo_roleplay,
}
PERSONAL = ("persona-feedback", "fspo-roleplay")
"""Those that ask for what suits a persona."""
