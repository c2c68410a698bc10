"""Whose persona a chat request takes, and what the deployment may say of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI

from testbed.fake_engine import MODEL, FakeEngine, Script, sent
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway, Starter

P_LEANING = (-2.0, -1.0)  # log-probabilities: the model leans to personalised
LEAN = 0.7310585786300049  # sigmoid(1)


def test_two_users_have_their_own_personas(gateway: Gateway, script: Script) -> None:
    """The official client, three model names, stream on and off, two users."""
    put_persona(gateway.url, "ada", "Ada is vegan.")
    put_persona(gateway.url, "bob", "Bob eats meat.", attributes={"city": "Oslo"})
    client: OpenAI = gateway.client
    for user, text in (("ada", "Ada is vegan."), ("bob", "Bob eats meat.\ncity: Oslo")):
        for model in (MODEL, f"{MODEL}-general", f"{MODEL}-personalized"):
            for stream in (False, True):
                answer = client.chat.completions.create(
                    model=model,
                    user=user,
                    messages=[{"role": "user", "content": "What should I cook?"}],
                    stream=stream,
                )
                if stream:
                    chunks = list(answer)
                    text_out = "".join(c.choices[0].delta.content or "" for c in chunks)
                    extension = chunks[0].personadual
                else:
                    text_out, extension = answer.choices[0].message.content, answer.personadual
                assert text_out == "Cook a stew."
                assert extension["persona"] == {"id": user, "version": 1, "status": "applied"}
                assert text in sent(script)["messages"][0]["content"]


def test_persona_id_order(gateway: Gateway, script: Script) -> None:
    """personadual.persona_id, X-Persona-Id, safety_identifier, user; null switches it off."""
    for name in ("one", "two", "three", "four"):
        put_persona(gateway.url, name, f"Persona {name}.")
    fields: dict[str, Any] = {"user": "four"}
    headers: dict[str, str] = {}
    message = [{"role": "user", "content": "x"}]

    def used() -> Any:
        body = {"messages": message, **fields}
        answer = call(gateway.url, "/v1/chat/completions", body, headers=headers)
        return answer.json["personadual"]["persona"]["id"]

    assert used() == "four"
    fields["safety_identifier"] = "three"
    assert used() == "three"
    headers["X-Persona-Id"] = "two"
    assert used() == "two"
    fields["personadual"] = {"persona_id": "one"}
    assert used() == "one"
    fields["personadual"] = {"persona_id": None}
    assert used() is None
    fields["personadual"] = {"persona": "Only now."}
    assert used() is None
    assert "Only now." in sent(script)["messages"][0]["content"]
    assert "four" not in json.dumps(sent(script)), "no id reaches the engine"


@pytest.mark.parametrize("name", ["", "Ada Lovelace", "x" * 10_000])
@pytest.mark.parametrize("field", ["user", "safety_identifier"])
def test_openais_own_fields_take_any_text(
    gateway: Gateway, script: Script, field: str, name: str
) -> None:
    """One that can be no persona's id is any text that OpenAI would take: no persona, no error."""
    answer = chat(gateway.url, **{field: name})
    assert answer.json["personadual"]["persona"]["status"] == "absent"


def test_the_prefix_cache_is_salted_by_user(gateway: Gateway, script: Script) -> None:
    """One user's entries neither serve nor time another's; without user there is no salt."""
    salts = []
    for user in ("ada", "bob", "ada"):
        chat(gateway.url, user=user)
        salts.append(sent(script)["cache_salt"])
    assert salts[0] == salts[2] != salts[1]
    assert "ada" not in salts[0]
    chat(gateway.url)
    assert "cache_salt" not in sent(script)


NO_PERSONA: dict[str, Any] = {"personadual": {"persona_id": None}}


@pytest.mark.parametrize("field", ["user", "safety_identifier"])
@pytest.mark.parametrize(
    ("one", "other", "fields"),
    [
        ("ada", "bob", NO_PERSONA),
        ("Ada Lovelace", "Bob Dylan", {}),
        ("Ada Lovelace", "Bob Dylan", NO_PERSONA),
        ("ada", "bob", {"personadual": {"persona": "Vegan."}}),
    ],
    ids=["off", "no id of a persona", "no id, and off", "the same text"],
)
def test_the_salt_is_the_users_without_a_persona_too(
    gateway: Gateway, script: Script, field: str, one: str, other: str, fields: dict[str, Any]
) -> None:
    """A client's call for a title, or a user whose id can be none of a persona."""
    salts = []
    for user in (one, other, one):
        assert chat(gateway.url, **{field: user}, **fields).status == 200
        salts.append(sent(script).get("cache_salt"))
    assert salts[0] == salts[2] != salts[1]
    assert None not in salts


def test_deployment_policy(start_gateway: Starter, fake: FakeEngine) -> None:
    """The deployment's mode holds where a request names none; its threshold likewise."""
    fake.reset().logprobs = P_LEANING
    forced = start_gateway(fake.url, mode="general")
    assert chat(forced.url).json["personadual"]["source"] == "policy"
    assert chat(forced.url, personadual={"mode": "auto"}).json["personadual"]["source"] == "model"
    strict = start_gateway(fake.url, threshold=0.99, isolation="strict")
    assert chat(strict.url).json["personadual"] == {
        "mode": "general",
        "probability": pytest.approx(LEAN),
        "source": "threshold",
        "persona": {"id": None, "version": None, "status": "absent"},
    }
