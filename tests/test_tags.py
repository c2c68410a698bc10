"""Tags of other checkpoints: as special tokens, as one token each, and by SentencePiece."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.decoders import DecodeStream

from app.chat.replies import read_probe
from model.card import Card
from model.decision import Source
from model.mode import Mode, TagIds, Tags
from model.reply import parse_reply
from testbed.fake_engine import FakeEngine, Script, sent
from testbed.http import chat
from tests.conftest import Starter


@pytest.fixture(scope="module")
def sentence_piece() -> Tokenizer:
    """As Llama 2's and Mistral's: a blank is part of the word behind it, the first one's too."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>", "[/INST]", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special)
    made.train_from_iterator(["[General_mode] you", "[Personalized_mode] I", "hello"] * 50, trainer)
    return made


def encoding(tokenizer: Tokenizer) -> Any:
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("mode", Mode)
def test_a_tag_is_read_as_it_stands_behind_a_prompt(sentence_piece: Tokenizer, mode: Mode) -> None:
    """The ids are those of training, and the text of the reply opens with the tag."""
    encode, tags = encoding(sentence_piece), Tags()
    found = TagIds.read(encode, tags)
    assert encode(tags[mode]) != list(found[mode]), "alone it has no blank: this shows nothing"
    prompt, trained = encode("[/INST]\n"), encode(f"[/INST]\n{tags[mode]}hello")
    reply = trained[len(prompt) :]
    assert reply[: len(found[mode])] == list(found[mode])
    stream = DecodeStream(ids=prompt, skip_special_tokens=False)
    text = "".join(piece for i in reply if (piece := stream.step(sentence_piece, i)))
    assert text.startswith(tags[mode])
    assert parse_reply(text).mode is mode


def test_a_tag_that_fuses_with_what_it_is_read_behind_is_read_alone() -> None:
    ids = {"\n": [1], "\ng": [9], "\np": [1, 3], "g": [2], "p": [3]}
    found = TagIds.read(ids.__getitem__, Tags("g", "p"))
    assert (found.general, found.personalized) == ((2,), (3,))


def test_the_ids_of_pocket_are_as_ever(tiny: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    found = TagIds.read(encoding(tokenizer), Tags())
    for mode in Mode:
        assert list(found[mode]) == encoding(tokenizer)(Tags()[mode])


def test_a_tag_that_holds_a_special_token_is_written_out(
    start_gateway: Starter, fake: FakeEngine, script: Script, tmp_path: Path
) -> None:
    """The engine would leave it out of its text, and every reply would seem to have none."""
    added = [
        {"content": "[General_mode]", "special": True},
        {"content": "<|end|>", "special": True},
    ]
    for name, tokens, wanted in (("plain", added[1:], None), ("special", added, False)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tokenizer.json").write_bytes(orjson.dumps({"added_tokens": tokens}))
        gateway = start_gateway(fake.url, checkpoint=str(folder))
        assert chat(gateway.url).status == 200
        assert sent(script).get("skip_special_tokens") is wanted


def test_a_decision_is_found_where_the_engine_split_its_tag_off() -> None:
    """Of one token, it is whole at once; where a call is forced it is told as reasoning then."""
    tags = Tags("<general>", "<personal>")
    served = SimpleNamespace(card=Card(tags=tags), tag_ids=TagIds((5,), (6,)), has_gate=True)
    plan: Any = SimpleNamespace(served=served, source=Source.MODEL)
    message = {"role": "assistant", "reasoning": "<personal>", "content": None}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    raw = orjson.dumps(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    )
    assert read_probe(raw, plan)[0].mode is Mode.PERSONALIZED
