import pytest

from loracle.data.preparing import REWRITES
from loracle.data.rewriting import keep_ascii, normalise_space, rewrite, strip_punctuation

HARD = "  Größe: 10 €!\u00a0<b>Don’t</b>\tsay “naïve” — 日本 🙂 &amp; 'e-mail'\r\n"


def test_punctuation_of_any_script_becomes_blanks_and_letters_stay():
    assert strip_punctuation("a,b;c—d。e_f $5 (50%)").split() == ["a", "b", "c", "d", "e", "f", "5", "50"]
    assert strip_punctuation("Größe 日本 🙂 été") == "Größe 日本 🙂 été"


def test_apostrophes_do_not_tear_words():
    assert strip_punctuation("don't l’été 'quoted'") == "dont lété quoted"


def test_ascii_only_keeps_words_apart():
    kept = keep_ascii("naïve\u00a0word—word 🙂 it’s 'fine'")
    assert kept.isascii()
    assert kept.split() == ["nave", "word", "word", "its", "'fine'"]


def test_white_space_of_every_kind_becomes_one_blank():
    assert normalise_space("\u2003 a \u00a0\t\r\n b\u3000") == "a b"


def test_without_steps_texts_stay_as_they_are():
    assert rewrite([HARD], ()) == ([HARD], [])


@pytest.mark.parametrize("step", REWRITES)
def test_a_step_done_twice_is_a_step_done_once(step):
    once, changed = rewrite([HARD], (step,))
    assert changed == [1]
    assert rewrite(once, (step,)) == (once, [0])


def test_each_step_counts_the_texts_that_it_changed():
    texts, changed = rewrite(["Good  <b>one</b>", "fine", "OK!"], REWRITES)
    assert texts == ["good one", "fine", "ok"]
    assert changed == [1, 2, 1, 0, 2]
