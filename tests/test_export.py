"""An adapter becomes a checkpoint: its weights merged, its card beside them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.card import Card, load_card, save_card
from model.errors import CheckpointInvalid
from model.export import export, whole

REPLACING = """
import os, signal, sys
from pathlib import Path
from model.export import whole

folder, event, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = []

def hook(name, arguments):
    if name != event or event == "os.rename" and Path(arguments[1]) != folder:
        return
    seen.append(name)
    if what == "kill" and len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail" and len(seen) == 1:
        raise OSError("the disk is gone")

with whole(folder) as work:
    (work / "content").write_text("new")
    sys.addaudithook(hook)
"""
"""Puts a new folder in the place of another; killed, or failing, at an event of Python's own."""


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    """An adapter that changes something, with a card of its own."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from training.checkpoints import lora, shrink

    network: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), lora(2))
    torch.manual_seed(0)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    folder = tmp_path / "adapter"
    network.save_pretrained(folder)
    save_card(replace(Card(), training={"recipe": "SFT"}), folder)
    shrink(folder)
    return folder


def test_neither_an_adapter_nor_its_base_is_written_over(
    adapter: Path, tiny: Path, tmp_path: Path
) -> None:
    """Both have a card, as a checkpoint has one."""
    other = shutil.copytree(adapter, tmp_path / "other")
    base = shutil.copytree(tiny, tmp_path / "base")
    for folder, said in ((other, "holds no checkpoint"), (base, "the adapter's own base")):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(CheckpointInvalid, match=said):
            export(adapter, folder, base=base)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_checkpoint_is_what_base_and_adapter_are_together(
    adapter: Path, tiny: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "whole"
    for _ in range(2):  # an export over an earlier one takes its place
        export(adapter, folder)
    card, warning = load_card(folder)
    assert (card.training, warning) == ({"recipe": "SFT"}, None)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    ids = torch.arange(8)[None]
    base: Any = AutoModelForCausalLM.from_pretrained(tiny)
    both: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), adapter)
    merged: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        wanted, found = both(ids).logits, merged(ids).logits
        assert torch.allclose(wanted, found, atol=1e-3)
        assert not torch.allclose(base(ids).logits, found, atol=1e-1)


@pytest.mark.parametrize(
    ("event", "what", "left"), [("os.remove", "kill", "new"), ("os.rename", "fail", "old")]
)
def test_a_folder_in_whose_place_another_comes_is_never_half_of_one(
    tmp_path: Path, event: str, what: str, left: str
) -> None:
    """Killed while the former one is removed, or where the new one cannot be put in its place."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in ("content", "a", "b"):
        (folder / name).write_text("old")
    command = [sys.executable, "-c", REPLACING, str(folder), event, what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == -signal.SIGKILL) == (what == "kill"), done.stderr
    assert ("the disk is gone" in done.stderr) == (what == "fail")
    names = {path.name for path in folder.iterdir()}
    assert names == ({"content"} if left == "new" else {"content", "a", "b"})
    assert (folder / "content").read_text() == left


def test_what_a_link_names_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """The checkpoint may lie on another disk, where there is room."""
    place, link = tmp_path / "disk" / "checkpoint", tmp_path / "checkpoint"
    link.symlink_to(place)
    for content in ("old", "new"):  # nothing there at first, not even the disk's folder
        with whole(link) as work:
            (work / "content").write_text(content)
        assert (place / "content").read_text() == content
    assert link.is_symlink()
    assert [path.name for path in place.parent.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("target", ["letter.txt", "letter.txt/checkpoint", "link"])
def test_a_file_is_no_place_for_a_checkpoint(adapter: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "link").symlink_to(tmp_path / "letter.txt" / "checkpoint")
    with pytest.raises(CheckpointInvalid, match=r"letter\.txt is no folder; name another"):
        export(adapter, tmp_path / target)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_whoever_serves_may_read_it(adapter: Path, tiny: Path, tmp_path: Path) -> None:
    """Several chat templates lie in a folder, which a reader must be able to enter."""
    base = shutil.copytree(tiny, tmp_path / "base")
    templates = base / "additional_chat_templates"
    templates.mkdir()
    (templates / "tool_use.jinja").write_text("{{ messages }}")
    export(adapter, tmp_path / "whole", base)
    made = tmp_path / "whole" / "additional_chat_templates"
    assert (made / "tool_use.jinja").is_file()
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in (made, *made.iterdir())}
    assert modes == {True: 0o755, False: 0o644}


def test_what_cannot_be_exported_is_said(adapter: Path, tiny: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("dear")
    with pytest.raises(CheckpointInvalid, match="holds no checkpoint; name another"):
        export(adapter, full)
    assert (full / "letter.txt").read_text() == "dear"
    with pytest.raises(CheckpointInvalid, match="it is not an adapter"):
        export(tmp_path / "nowhere", tmp_path / "x")
    with pytest.raises(CheckpointInvalid, match="--base"):
        export(adapter, tmp_path / "x", tmp_path / "nowhere")
    config = adapter / "adapter_config.json"
    content = json.loads(config.read_text())
    del content["base_model_name_or_path"]
    config.write_text(json.dumps(content))
    with pytest.raises(CheckpointInvalid, match="name the base by --base"):
        export(adapter, tmp_path / "x")
    export(adapter, tmp_path / "x", tiny)
    assert load_card(tmp_path / "x")[1] is None
