"""Files as people have them: each is read rightly, or refused in one line that names column, row and what to do."""

import gzip
import io
import struct

import numpy as np
import pandas as pd
import pytest

from stpbnn.datasets import load_table

PLAIN = "area,kind,price\n60,flat,200\n90,flat,300\n120,house,500\n75,house,280\n100,flat,350\n"
AREA, PRICE = [60.0, 90, 120, 75, 100], [200.0, 300, 500, 280, 350]
HOUSE = [False, False, True, True, False]


def semi(text=PLAIN):
    return text.replace(",", ";")


def saved(save, *args, **kwargs):
    file = io.BytesIO()
    save(file, *args, **kwargs)
    return file.getvalue()


READ = {
    "plain": PLAIN,
    "BOM": "\ufeff" + PLAIN,
    "UTF-16 as Excel's 'Unicode text'": PLAIN.replace(",", "\t").encode("utf-16"),
    "Windows line ends": PLAIN.replace("\n", "\r\n"),
    "line ends of the old Macintosh": PLAIN.replace("\n", "\r"),
    "no line end at the end": PLAIN.rstrip("\n"),
    "semicolons": semi(),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "spaces that line up": "\n".join("  ".join(line.split(",")).ljust(30) for line in PLAIN.split("\n")),
    "semicolons and decimal commas": semi(PLAIN).replace("60;", "60,0;").replace("75;", "7,5e1;"),
    "quoted decimal commas": PLAIN.replace("60,", '"60,0",').replace(",500", ',"500,00"'),
    "quoted headers": PLAIN.replace("area,kind,price", '"area","kind","price"'),
    "everything quoted": "\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in PLAIN.split()),
    "single spaces around": PLAIN.replace(",", " , "),
    "trailing separators": PLAIN.replace("\n", ",\n"),
    "trailing separators below the header": PLAIN.replace("0\n", "0,\n"),
    "trailing separator in the header": PLAIN.replace("price\n", "price,\n"),
    "blank lines": PLAIN.replace("\n", "\n\n") + "\n\n",
    "Excel's empty rows": PLAIN + ",,\n,,\n",
    "Excel's sep line": "sep=;\n" + semi(),
    "comments above": "# houses\n# of 2020\n" + PLAIN,
    "index of pandas": "\n".join(f"{'' if i == 0 else i - 1},{line}" for i, line in enumerate(PLAIN.split())),
    "row names of R": "\n".join(f"{i},{line}" if i else line for i, line in enumerate(PLAIN.split())),
    "plus signs, exponents and Unicode's minus": PLAIN.replace("60,", "+6e1,").replace(
        ",200", ",−-200".replace("-", "")
    ),
    "semicolons and decimal commas, all quoted": "\r\n".join(
        ";".join(f'"{field},0"' if field.isdigit() else f'"{field}"' for field in line.split(","))
        for line in PLAIN.split()
    ),
    "the end mark of DOS": PLAIN + "\x1a",
    "gzip": gzip.compress(PLAIN.encode(), mtime=0),
}


@pytest.mark.parametrize("oddity", READ)
def test_what_is_read_rightly(tmp_path, oddity):
    content = READ[oddity]
    path = tmp_path / "house.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    task = load_table(path, "price", test=2, standardize=None, normalize_target=False)
    price = [-200.0, *PRICE[1:]] if "minus" in oddity else PRICE
    np.testing.assert_array_equal(np.vstack([task.X, task.Xt]), np.c_[AREA, np.invert(HOUSE), HOUSE])
    np.testing.assert_array_equal(np.r_[task.y, task.yt], price)
    assert task.preparation.feature_names == ("area", "kind=flat", "kind=house")
    assert [len(part) for part in task] == [3, 3, 2, 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", PLAIN.replace(",", "\t")),
        ("a.tsv.gz", gzip.compress(PLAIN.replace(",", "\t").encode(), mtime=0)),
        ("A.CSV", PLAIN),
        ("a.txt", semi()),
        ("a.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)),
        ("a.npz", saved(np.savez, area=AREA, kind=np.where(HOUSE, "house", "flat"), price=PRICE)),
        (
            "a.npy",
            saved(
                np.save,
                np.array(
                    list(zip(AREA, np.where(HOUSE, "house", "flat"), PRICE, strict=True)),
                    [("area", "f4"), ("kind", "U9"), ("price", "i8")],
                ),
            ),
        ),
    ],
)
def test_other_names_and_formats(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    task = load_table(path, "price", test=2, standardize=None, normalize_target=False)
    np.testing.assert_array_equal(np.vstack([task.X, task.Xt]), np.c_[AREA, np.invert(HOUSE), HOUSE])
    np.testing.assert_array_equal(np.r_[task.y, task.yt], PRICE)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.read_csv(io.StringIO(PLAIN)).astype({"kind": "category"})
    table.to_parquet(tmp_path / "a.parquet")
    task = load_table(tmp_path / "a.parquet", "price", test=2, standardize=None, normalize_target=False)
    np.testing.assert_array_equal(np.vstack([task.X, task.Xt]), np.c_[AREA, np.invert(HOUSE), HOUSE])


def test_other_encodings_are_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(PLAIN.replace("area", "Fläche").encode("cp1252"))
    with pytest.raises(ValueError, match=r"is not text in UTF-8 \(line 1, byte 2\); name its encoding, such as enc"):
        load_table(path, "price")
    assert load_table(path, "price", encoding="cp1252").preparation.feature_names[0] == "Fläche"


def longer(column, values):
    """Return the table with a column more."""
    lines = PLAIN.split()
    return "\n".join(f"{line},{value}" for line, value in zip(lines, [column, *values], strict=True))


WORDS = ["near the sea", "needs work", "two balconies", "quiet", "sold twice"]
REFUSED = {
    "missing number": (
        PLAIN.replace("90,", ","),
        "column 'area', row 3: the value is missing, one of 1; missing = \"drop\" leaves",
    ),
    "missing category": (
        PLAIN.replace("75,house", "75,NA"),
        "column 'kind', row 5: the value is missing, one of 1; missing = ",
    ),
    "missing target": (
        PLAIN.replace(",500", ",?"),
        "column 'price', row 4: the value is missing, one of 1; remove its row, which",
    ),
    "a number misspelt": (
        PLAIN.replace("120,", "12O,"),
        "column 'area', row 4: got '12O', expected a number; leave it out",
    ),
    "ISO dates": (
        longer("sold", [f"2020-0{i}-01" for i in range(1, 6)]),
        "column 'sold', row 2: got the date or time '2020-01-01', expected numbers or categories; count it in days",
    ),
    "German dates": (
        longer("sold", [f"0{i}.02.2020" for i in range(1, 6)]),
        "column 'sold', row 2: got the date or time '01.02.2020'",
    ),
    "free text": (
        longer("text", WORDS),
        "column 'text', row 2: got free text, 5 different ones in 5 rows such as 'near the ",
    ),
    "constant number": (
        longer("year", [2020] * 5),
        "column 'year', row 2: got the same value in all 4 training rows, expected one that varies; leave",
    ),
    "constant category": (
        longer("town", ["Bonn"] * 5),
        "column 'town', row 2: got the same value in all 4 training rows",
    ),
    "constant target": (
        PLAIN.replace("200", "300").replace("500", "300").replace("280", "300"),
        "column 'price', row 2: got the same target in all 4 training rows, expected one that varies",
    ),
    "empty column": (
        longer("note", [""] * 5),
        "column 'note': got no value at all in 5 rows; leave it out with drop = [\"note\"]",
    ),
    "duplicate names": (
        PLAIN.replace("kind", "area"),
        "column 'area': got this name 2 times, columns 1 and 2; rename all but one",
    ),
    "no name": (PLAIN.replace("kind", ""), "column 2: has no name, expected one for each of the 3 columns; name it"),
    "no header": (
        PLAIN.partition("\n")[2].replace("flat", "1").replace("house", "2"),
        "line 1: got numbers (60, 1, 200, ...), expected the names of the columns; put a line of names before it",
    ),
    "title above": (
        "Houses\n\n" + PLAIN,
        "line 3: got 3 fields separated by ',', expected 1 as in the header of line 1; correct",
    ),
    "long line": (
        PLAIN.replace("500", "500,7"),
        "line 4: got 4 fields separated by ',', expected 3 as in the header of line 1",
    ),
    "short line": (
        PLAIN.replace(",500", ""),
        "line 4: got 2 fields separated by ',', expected 3 as in the header of line 1",
    ),
    "open quote": (PLAIN.replace("120,", '"120,'), "line 4: unexpected end of data; check the quotes from there on"),
    "one column": (
        "price\n1\n2\n3\n",
        "line 1: got the one column 'price', expected several; name the separator, such as",
    ),
    "thousands": (
        PLAIN.replace("60,", '"1,060",').replace("90,", '"1,090",'),
        "column 'area', row 2: got '1,060', expected a number without marks between thousands; leave",
    ),
    "points and commas": (
        semi().replace("60;", "60,5;").replace(";200", ";1.200"),
        "column 'price', row 2: got '1.200' where other columns have numbers such as 1,5, expected one",
    ),
    "percent": (longer("share", ["1%", "2%", "3%", "4%", "5%"]), "column 'share', row 2: got "),
    "a row of units": (
        PLAIN.replace("price\n", "price\nm2,,eur\n"),
        "column 'area', row 2: got 'm2', expected a number, not a unit; remove the row, or leave it out",
    ),
    "months": (
        longer("sold", [f"2020-0{i}" for i in range(1, 6)]),
        "column 'sold', row 2: got the date or time '2020-01', expected numbers or categories",
    ),
    "infinite": (
        PLAIN.replace("90,", "inf,"),
        "column 'area', row 3: got an infinite number, expected a finite one; remove the row",
    ),
    "beyond double precision": (PLAIN.replace("90,", "1e400,"), "column 'area', row 3: got an infinite number"),
    "too large to square": (
        PLAIN.replace("90,", "1e300,"),
        "column 'area': got numbers of a spread beyond double precision; give them in another unit",
    ),
    "text as targets": (
        PLAIN.replace("kind", "prise").replace("price", "kind").replace("prise", "price"),
        "column 'price', row 2: got the text 'flat', expected numbers as targets; for classes give the network a like",
    ),
    "one row": ("a,price\n1,2\n", "got 1 row, expected two at least for training and one for the test"),
    "no row": ("a,price\n", "got 0 rows, expected two at least for training and one for the test"),
    "empty file": ("", "is empty, expected a line of column names and lines of values"),
    "total below": (PLAIN + "445,Total,\n", "column 'price', row 7: the value is missing, one of 1; remove its row"),
    "bytes of zeros": (bytes(100), "is no text: it holds zero bytes"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "is no text: it holds zero bytes or control characters"),
    "Excel under another name": (
        b"PK\x03\x04 xl/workbook.xml",
        "is an Excel workbook or another zip archive; export the sheet as CSV",
    ),
    "old Excel under another name": (
        b"\xd0\xcf\x11\xe0\xa1\xb1",
        "is an Excel workbook of the old kind; export the sheet as CSV",
    ),
    "Parquet under another name": (b"PAR1....PAR1", "is Parquet; name it .parquet"),
    "web page": ("<!DOCTYPE html><html>404</html>", "is a web page or XML; download the file itself"),
    "JSON": ('[{"area": 60}]', "is JSON; export it as CSV"),
    "half a gzip": (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "cannot be unpacked ("),
}


@pytest.mark.parametrize("oddity", REFUSED)
def test_what_is_refused_in_one_line(tmp_path, oddity):
    content, expected = REFUSED[oddity]
    path = tmp_path / "house.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_table(path, "price", test=1)
    said = str(caught.value)
    assert said.startswith(f"file: {path}: {expected}")
    assert "\n" not in said
    assert len(said) < 400


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("house.xlsx", "is a workbook; export the sheet as CSV and give that file"),
        ("house.ods", "is a workbook; export the sheet as CSV and give that file"),
        ("house.csv.zip", "is packed; unpack it and give the file in it, or pack that alone as .gz"),
        ("house.pkl", "got the ending '.pkl', expected .csv, .tsv, "),
        ("house", "got the ending 'of no format', expected .csv, "),
        ("houses.csv", "expected a file; did you mean house.csv?"),
        ("none/house.csv", "expected a file; there is no such file in "),
        ("folder.csv", "is a folder, expected a file in it: .csv, "),
    ],
)
def test_paths_that_name_no_table(tmp_path, name, expected):
    (tmp_path / "house.csv").write_text(PLAIN)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_table(tmp_path / name, "price")
    assert str(caught.value).startswith(f"file: {tmp_path / name}: {expected}")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "got X (3, 2), y (4,); expected arrays with as many rows each"),
        ({"X": np.array([{}, None]), "y": np.ones(2)}, "holds Python objects (pickles), which are not read; save"),
        ({"X": np.ones((3, 2)), "y": np.ones(3), "Xt": np.ones((1, 2))}, "got the test arrays X beside X, y, expected"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, arrays, expected):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_table(tmp_path / "a.npz", "y")
    assert str(caught.value).startswith(f"file: {tmp_path / 'a.npz'}: {expected}")


def test_a_damaged_array_file(tmp_path):
    (tmp_path / "a.npz").write_bytes(saved(np.savez, X=np.ones((3, 2)))[:40])
    (tmp_path / "b.npy").write_bytes(struct.pack("6s", b"\x93NUMPY"))
    for name in ("a.npz", "b.npy"):
        with pytest.raises(ValueError, match="is no whole file of NumPy's"):
            load_table(tmp_path / name, "y")


def test_savetxt_and_arrays_with_test_rows(tmp_path):
    rng = np.random.default_rng(0)
    X, Xt = rng.normal(size=(6, 2)), rng.normal(size=(3, 2))
    np.savetxt(tmp_path / "a.txt", X, header="u v")
    task = load_table(tmp_path / "a.txt", "v", test=2, standardize=None, normalize_target=False)
    np.testing.assert_array_equal(task.X[:, 0], X[:4, 0])
    np.savez(tmp_path / "a.npz", X=X, y=X.sum(1), Xt=Xt, yt=Xt.sum(1))
    task = load_table(tmp_path / "a.npz", "y", split="split", standardize=None, normalize_target=False)
    for got, expected in zip(task, (X, X.sum(1), Xt, Xt.sum(1)), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("cell", "told"), [("-999", True), ("-99", True), ("-60", False)])
def test_marks_of_missing_values_are_pointed_out(tmp_path, caplog, cell, told):
    path = tmp_path / "house.csv"
    path.write_text(PLAIN.replace("60,", f"{cell},"))
    load_table(path, "price", test=1)
    assert (f"area has {cell} in 1 row, far from all others; leave the cell empty" in caplog.text) == told
