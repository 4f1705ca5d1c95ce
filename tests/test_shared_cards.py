"""Cards for other people, on a machine with other folders."""

from pathlib import Path

import pandas as pd

from stpbnn.cards import load_card, shared

CARD = """
name = "house"
title = "A house"
minutes = 1

[network]
widths = [5]

[data]
{data}
target = "price"

[posterior]
temperature = 0.1
"""


def card_of(folder, data):
    (folder / "card.toml").write_text(CARD.format(data=data), "utf-8")
    return load_card(folder / "card.toml")


def test_a_card_that_is_shared_finds_its_files_beside_it(tmp_path):
    mine, theirs = tmp_path / "mine" / "deep", tmp_path / "theirs"
    (mine / "new").mkdir(parents=True)
    (theirs / "new").mkdir(parents=True)
    table = pd.DataFrame({"area": range(9), "price": [float(n * n) for n in range(9)]})
    for folder in (mine, theirs):
        table.to_csv(folder / "house.csv", index=False)
        table.head(4).to_csv(folder / "new" / "test.csv", index=False)
    data = f"file = '{mine}/house.csv'\ntest_file = 'new/test.csv'\ndata_home = '{mine}'"
    given = card_of(mine, data)
    text = shared(given).to_toml()
    assert str(tmp_path) not in text
    (theirs / "card.toml").write_text(text, "utf-8")
    there = load_card(theirs / "card.toml")
    assert (there.data.file, there.data.test_file) == (str(theirs / "house.csv"), str(theirs / "new" / "test.csv"))
    for one, other in zip(there.load(), given.load(), strict=True):
        assert (one == other).all()
    assert given.data.data_home == str(mine)  # what was given stays


def test_files_of_a_sweep_keep_their_folders(tmp_path):
    text = CARD.format(data="file = 'a/house.csv'") + "[sweep]\n\"data.file\" = ['a/house.csv', 'b/house.csv']\n"
    (tmp_path / "card.toml").write_text(text, "utf-8")
    card = shared(load_card(tmp_path / "card.toml"))
    assert card.sweep["data.file"] == ("a/house.csv", "b/house.csv")
    assert card.data.file == "a/house.csv"
    assert not Path(card.data.file).is_absolute()


def test_a_card_of_a_named_data_set_stays():
    card = load_card("smoke-1hl-linear")
    assert shared(card) == card
