"""Every recipe runs: on a tiny model, on a few texts, for one epoch, with all of its methods."""

import csv
import random
import tomllib
from pathlib import Path

import pytest

from loracle.cli import main
from loracle.comparison.result import load_comparison
from loracle.methods.registry import find_methods

RECIPES = Path(__file__).parents[1] / "recipes"
RUNNABLE = ("day5-lora", "lora-notebook", "llama-partial-vs-lora", "complaints", "rank-study")


@pytest.fixture(scope="module")
def wide_base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_files: Path) -> Path:
    """A BERT of 4 layers, wide enough for rank 64."""
    import shutil

    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("wide") / "base"
    shutil.copytree(tiny_tokenizer_files, folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=120, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw export with the older product names in it, some HTML, and texts that are too short."""
    merged = tomllib.loads((RECIPES / "complaints-products.toml").read_text())["merge"]
    words = "they charged me again and never answered my letters about this account <b>at all</b>".split()
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("complaints") / "complaints.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Complaint ID", "Product", "Consumer complaint narrative"])
        for number, name in enumerate(15 * sorted({*merged, *merged.values()})):
            text = " ".join(draw.choices(words, k=20)) if number % 20 else "too short"
            writer.writerow([number, name, text])
    return path


@pytest.mark.parametrize("recipe", RUNNABLE)
def test_recipe_runs_with_all_of_its_methods(
    recipe: str, wide_base: Path, tiny_file: Path, complaints: Path, tmp_path: Path
) -> None:
    path, data = RECIPES / f"{recipe}.toml", complaints if recipe == "complaints" else tiny_file
    small = "--epochs 1 --seeds 1 --learning-rates 1 --max-length 16 --max-train 60 --max-test 40".split()
    sizes = "--scratch-hidden 16 --scratch-layers 2 --lstm-embedding 8 --lstm-hidden 8".split()
    arguments = ["compare", str(data), "--config", str(path), "--model", str(wide_base), *small, *sizes]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    comparison = load_comparison(tmp_path / "run")
    wanted = tomllib.loads(path.read_text())["methods"]
    assert {summary.method for summary in comparison.summaries if not summary.error} == set(wanted)
    assert (tmp_path / "run" / "report.html").is_file()


def test_complaints_are_prepared_as_the_recipe_says(complaints: Path, wide_base: Path, tmp_path: Path) -> None:
    config = str(RECIPES / "complaints.toml")
    quick = ["--methods", "tfidf", "--model", str(wide_base), "--max-length", "16", "--seeds", "1"]
    assert main(["compare", str(complaints), "--config", config, *quick, "--out", str(tmp_path / "run")]) == 0
    task = load_comparison(tmp_path / "run").task
    merged = tomllib.loads((RECIPES / "complaints-products.toml").read_text())["merge"]
    assert set(task["label_names"]) == set(merged.values())
    rows = sum(split["rows"] for split in task["splits"].values())
    names = len({*merged, *merged.values()})
    assert rows == 15 * names - len(range(0, 15 * names, 20))


def test_there_is_no_other_recipe() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} == {*RUNNABLE, "complaints-products"}


@pytest.mark.parametrize("recipe", RUNNABLE)
def test_recipe_names_its_base_model_and_known_methods(recipe: str) -> None:
    content = tomllib.loads((RECIPES / f"{recipe}.toml").read_text())
    assert content["model"]
    assert find_methods(content["methods"])
