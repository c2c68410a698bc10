"""The comparison arms: what each differs in, and what is done again after a kill."""

from __future__ import annotations

import json
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arms import (
    ARMS,
    BASE,
    REPORT,
    Arm,
    configured,
    follow,
    once,
    pin,
    places,
    prepare,
    read_options,
    table,
    to_toml,
    train,
)
from model.mode import Mode
from tests.noted_product import Product
from training.config import Config, DualGrpoConfig, SftConfig
from training.credit import DualAdvantageConfig
from training.items import load_items

CONFIGS = Path(__file__).parents[1] / "configs"
CUDA = CONFIGS / "pocket-dual-grpo-cuda.toml"


def options(out: Path, *more: str) -> Namespace:
    out.mkdir(exist_ok=True)
    sft = ["--sft-config", str(CONFIGS / "pocket-sft-cpu.toml")]
    config = ["--config", str(CONFIGS / "pocket-dual-grpo-cpu.toml")]
    return read_options([*sft, *config, "--out", str(out), *more])


def test_every_arm_differs_from_the_papers_in_what_its_name_says(tmp_path: Path) -> None:
    chosen: dict[str, Config] = {}
    for name, arm in ARMS.items():
        if arm.recipe is not None:
            kind: type[Config] = SftConfig if arm.recipe == "sft" else DualGrpoConfig
            text = to_toml(configured(tmp_path, arm, options(tmp_path), 43))
            chosen[name] = kind.model_validate(tomllib.loads(text))
            assert chosen[name].seed == 43
    paper = DualAdvantageConfig()
    expected: dict[str, dict[str, Any]] = {
        "DualGRPO, paper": {},
        "forced tags, plain advantage": {"variant": "plain", "prefix_weight": 1.0},
        "DualGRPO, behaviour": {"prefix_credit": "behaviour"},
        "DualGRPO, behaviour and capped KL": {"prefix_credit": "behaviour", "prefix_kl": "capped"},
    }
    for name, differing in expected.items():
        found: Any = chosen[name]
        fields = DualAdvantageConfig.__dataclass_fields__
        assert {
            field: getattr(found.dual, field)
            for field in fields
            if getattr(found.dual, field) != getattr(paper, field)
        } == differing
    free: Any = chosen["GRPO, tags not forced"]
    assert not free.forced_tags
    alone: Any = chosen["SFT only, personalised mode alone"]
    assert alone.only_mode == "personalized"


def test_without_steps_the_configurations_own_count(tmp_path: Path) -> None:
    """The CUDA configuration counts epochs."""
    asked = options(tmp_path, "--config", str(CUDA))
    assert "max_steps" not in configured(tmp_path, ARMS["DualGRPO, paper"], asked, 42)
    asked = options(tmp_path, "--config", str(CUDA), "--steps", "7")
    assert configured(tmp_path, ARMS["DualGRPO, paper"], asked, 42)["max_steps"] == 7


def test_a_stage_has_ended_only_when_it_has(tmp_path: Path) -> None:
    arm = ARMS["DualGRPO, paper"]
    (tmp_path / "run" / "adapter").mkdir(parents=True)  # half-written, by an earlier kill
    asked = options(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, arm, asked, 42, Product(killed_in="dual-grpo"))
    again = Product()
    adapter = train(tmp_path, arm, asked, 42, again)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, arm, adapter, asked, Product(killed_in="calibrate"))
    for _ in range(2):
        train(tmp_path, arm, asked, 42, again)
        prepare(tmp_path, arm, adapter, asked, again)
    assert again.ran == ["dual-grpo", "export", "calibrate"]


def test_an_arm_may_train_the_items_of_one_mode(tmp_path: Path) -> None:
    product = Product()
    train(tmp_path, ARMS["SFT only, personal questions alone"], options(tmp_path), 42, product)
    config = SftConfig.model_validate(tomllib.loads((tmp_path / "config.toml").read_text()))
    kept = load_items(config.data)
    assert {item.mode for item in kept} == {Mode.PERSONALIZED}
    assert len(kept) > 2000
    assert product.ran == ["sft"]


def test_trainings_alone(tmp_path: Path) -> None:
    """For a machine that cannot serve: nothing is exported or measured there, the base neither."""
    product, asked = Product(), options(tmp_path, "--train-only")
    follow("DualGRPO, paper", tmp_path / "paper", 42, asked, product)
    follow(BASE, tmp_path / "base", 42, asked, product)
    assert product.ran == ["dual-grpo"]
    with pytest.raises(KeyboardInterrupt):
        follow("DualGRPO, paper", tmp_path / "paper", 42, options(tmp_path), Product("export"))


def test_an_arm_without_a_choice_is_not_calibrated(tmp_path: Path) -> None:
    product = Product()
    prepare(tmp_path, Arm(has_choice=False), tmp_path, options(tmp_path), product)
    assert product.ran == ["export"]


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    pin(options(tmp_path, "--steps", "3"))
    pin(options(tmp_path, "--steps", "3", "--seeds", "2", "--only", BASE))
    with pytest.raises(SystemExit, match=r"other settings \(steps\); name another --out"):
        pin(options(tmp_path, "--steps", "4"))
    with pytest.raises(SystemExit, match=r"\(config\)"):
        pin(options(tmp_path, "--steps", "3", "--config", str(CUDA)))


def test_the_base_minds_no_training(tmp_path: Path) -> None:
    """It is measured once, whatever is trained beside it; how many items it was asked counts."""
    alone = ("--only", BASE)
    pin(options(tmp_path, *alone))
    pin(options(tmp_path, *alone, "--steps", "3", "--config", str(CUDA)))
    pin(options(tmp_path, "--steps", "5"))
    pin(options(tmp_path, *alone, "--steps", "3"))
    with pytest.raises(SystemExit, match="steps"):
        pin(options(tmp_path, "--steps", "3"))
    with pytest.raises(SystemExit, match="limit"):
        pin(options(tmp_path, *alone, "--limit", "3"))


def test_the_base_of_another_model_is_another_base(tmp_path: Path) -> None:
    """Its row would stay in the table of the arms."""
    other = tmp_path / "other.toml"
    text = (CONFIGS / "pocket-dual-grpo-cpu.toml").read_text()
    other.write_text(text.replace("untrained/pocket", "untrained/other"))
    pin(options(tmp_path, "--only", BASE))
    with pytest.raises(SystemExit, match=r"other settings \(model\)"):
        pin(options(tmp_path, "--only", BASE, "--only", "SFT only", "--config", str(other)))
    with pytest.raises(SystemExit, match=r"other settings \(model\)"):
        pin(options(tmp_path, "--only", BASE, "--config", str(other)))


@pytest.mark.parametrize("flag", ["--config", "--sft-config"])
def test_other_items_to_train_need_another_folder(tmp_path: Path, flag: str) -> None:
    """In a file of the same name; what they are says nothing of the base."""
    data, config = tmp_path / "items.jsonl", tmp_path / "config.toml"
    data.write_text("one")
    config.write_text(to_toml({"model": "base", "data": str(data)}))
    asked = ("--config", str(config), flag, str(config))
    pin(options(tmp_path, *asked))
    pin(options(tmp_path, *asked))
    data.write_text("two")
    name = flag.strip("-").replace("-", "_")
    with pytest.raises(SystemExit, match=rf"\(.*{name}'s data.*\)"):
        pin(options(tmp_path, *asked))
    pin(options(tmp_path, *asked, "--only", BASE))


def test_other_held_out_items_need_another_folder(tmp_path: Path) -> None:
    """Of the base, too: all rows of a table were asked the same."""
    suite = tmp_path / "held_out.jsonl"
    suite.write_text("one")
    for only in ((), ("--only", BASE)):
        pin(options(tmp_path, *only), suite)
    suite.write_text("two")
    for only in ((), ("--only", BASE)):
        with pytest.raises(SystemExit, match=r"other settings \(suite\)"):
            pin(options(tmp_path, *only), suite)


def test_a_folder_that_is_older_than_a_setting_goes_on(tmp_path: Path) -> None:
    pin(options(tmp_path))
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({name: settings[name] for name in ("limit", "steps", "config")}))
    pin(options(tmp_path))
    assert json.loads(path.read_text()).keys() == settings.keys()


def test_chosen_arms_alone(tmp_path: Path) -> None:
    found = places(options(tmp_path, "--only", "SFT only", "--only", "DualGRPO, paper"))
    assert list(found) == ["SFT only", "DualGRPO, paper"]
    whole = places(options(tmp_path, "--seeds", "3"))
    assert list(whole) == [BASE, *ARMS]
    assert [len(whole[name]) for name in (BASE, "SFT only", "DualGRPO, paper")] == [1, 1, 3]


def test_the_table_leaves_out_what_is_half_evaluated(tmp_path: Path) -> None:
    (tmp_path / REPORT).parent.mkdir()
    (tmp_path / REPORT).write_text('{"half')
    assert "SFT" not in table({"SFT only": [tmp_path]})
    (tmp_path / REPORT).write_text('{"asked": {"has_modes": true}, "rows": []}')
    once(tmp_path, "evaluated", lambda: None)
    assert "| SFT only |" in table({"SFT only": [tmp_path]})
