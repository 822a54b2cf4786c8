from pathlib import Path

import pytest

from loracle.data.loading import load_task
from loracle.data.merging import load_merge_map
from loracle.errors import ConfigError, DataError

RECIPE = Path(__file__).parents[2] / "recipes" / "complaints-products.toml"
PRODUCTS = (
    *("Bank account or service", "Checking or savings account", "Consumer Loan", "Credit card"),
    *("Credit card or prepaid card", "Debt collection", "Mortgage", "Payday loan", "Student loan"),
    "Credit reporting, credit repair services, or other personal consumer reports",
    *("Money transfer, virtual currency, or money service", "Payday loan, title loan, or personal loan"),
    "Vehicle loan or lease",
)


@pytest.fixture
def write_map(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "map.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def shop(write_csv, reviews):
    """20 texts of each of bad, Bad and good."""
    return write_csv(reviews(20, ("bad", "Bad", "good")))


def counts(task):
    described = task.describe()["splits"].values()
    return {name: sum(split["per_label"][name] for split in described) for name in task.label_names}


def test_labels_take_their_new_names_and_are_counted(shop, write_map):
    task = load_task(shop, merge=write_map('[merge]\nBad = "bad"\n'))
    assert counts(task) == {"bad": 40, "good": 20}
    assert [(step.name, step.changed) for step in task.steps] == [("missing", 0), ("merge", 20)]
    assert "3 labels became 2 by map.toml (rows): 'Bad' -> 'bad' (20)." in task.notes


def test_new_names_are_not_looked_up_again(shop, write_map):
    task = load_task(shop, merge=write_map('[merge]\nbad = "good"\ngood = "bad"\n'))
    plain = load_task(shop)
    assert counts(task) == {"Bad": 20, "bad": 20, "good": 20}
    named = {text: plain.label_names[label] for text, label in zip(plain.train.texts, plain.train.labels, strict=True)}
    for text, label in zip(task.train.texts, task.train.labels, strict=True):
        if text in named and named[text] != "Bad":
            assert task.label_names[label] == {"bad": "good", "good": "bad"}[named[text]]


def test_every_given_split_is_merged(tmp_path, write_csv, reviews, write_map):
    rows = reviews(20, ("bad", "Bad", "good"))
    write_csv(rows[:40], "shop/train.csv")
    write_csv(rows[40:], "shop/test.csv")
    assert counts(load_task(tmp_path / "shop", merge=write_map('[merge]\nBad = "bad"\n'))) == {"bad": 40, "good": 20}


def test_the_shipped_map_makes_nine_products_of_thirteen(write_csv, reviews):
    task = load_task(write_csv(reviews(4, PRODUCTS)), merge=RECIPE)
    assert len(PRODUCTS) == 13
    assert len(task.label_names) == 9
    assert set(task.label_names) < set(PRODUCTS)


def test_an_unknown_label_is_refused_with_the_closest(shop, write_map):
    with pytest.raises(
        DataError, match=r"'Godo', which no row has; did you mean 'good'\? Labels: 'Bad', 'bad', 'good'"
    ):
        load_task(shop, merge=write_map('[merge]\nGodo = "good"\n'))


def test_a_label_whose_texts_were_all_dropped_is_known_to_the_map(write_csv, reviews, write_map):
    path = write_csv([*reviews(20), ("short", "odd")])
    task = load_task(path, min_words=3, merge=write_map('[merge]\nodd = "good"\n'))
    assert counts(task) == {"bad": 20, "good": 20}


def test_a_map_that_leaves_one_label_is_refused(shop, write_map):
    with pytest.raises(DataError, match="has only one label, 'good'"):
        load_task(shop, merge=write_map('[merge]\nBad = "good"\nbad = "good"\n'))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "merges no labels"),
        ("[merge]\n", "merges no labels"),
        ("merge = 'x'\n", "merges no labels"),
        ("[merge]\nbad = ' '\n", "gives the label 'bad' the name ' '"),
        ("[merge]\nbad = ['a', 'b']\n", "gives the label 'bad' the name"),
        ("bad = 'good'\n", "'bad' outside of the table"),
        ("[merge\n", "is no TOML file"),
        (b"[merge]\n\xff = 'x'\n", "is no TOML file"),
    ],
)
def test_a_map_that_cannot_be_used_is_one_line_before_the_data_is_read(write_map, content, said):
    with pytest.raises(ConfigError, match=said) as raised:
        load_task("no-such-file.csv", merge=write_map(content))
    assert "\n" not in str(raised.value)


def test_a_map_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_merge_map(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_merge_map(tmp_path)
