import gzip
import hashlib
from pathlib import Path

import pytest

from stpbnn.datasets import data_folder


def test_home_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    assert data_folder.home() == tmp_path / "home" / ".cache" / "stpbnn"
    monkeypatch.setenv("STPBNN_DATA", "/of/the/variable")
    assert data_folder.home() == Path("/of/the/variable")
    assert data_folder.home("~/mine") == tmp_path / "home" / "mine"


def test_find_takes_the_first_folder_with_all_files(tmp_path):
    for name in ("one/a", "two/a", "two/b.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = [tmp_path / "none", tmp_path / "one", tmp_path / "two"]
    assert data_folder.find(folders, ["a", "b"]) == [tmp_path / "two" / "a", tmp_path / "two" / "b.gz"]
    assert data_folder.find(folders[:2], ["a", "b"]) is None
    assert f"{tmp_path / 'one'} lacks only b." in data_folder.lacking(folders[:2], ["a", "b"])


def test_read_unpacks_and_knows_a_damaged_copy(tmp_path):
    packed = gzip.compress(b"content", mtime=0)
    path = tmp_path / "file.gz"
    path.write_bytes(packed)
    md5 = hashlib.md5(packed).hexdigest()
    assert data_folder.read(path) == b"content"
    assert data_folder.read(path, (len(packed), md5)) == b"content"
    assert data_folder.read(path, (len(packed) + 1, "of another size")) == b"content"
    with pytest.raises(ValueError, match=f"file.gz has the name and the size .* MD5 {md5} where 0 is expected"):
        data_folder.read(path, (len(packed), "0"))


@pytest.mark.parametrize(
    "data",
    [b"not packed", gzip.compress(b"content", mtime=0)[:-4], gzip.compress(b"content", mtime=0)[:14] + b"xxxxxx"],
)
def test_read_refuses_a_corrupt_gzip(tmp_path, data):
    path = tmp_path / "file.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"file.gz cannot be read: .* fetch it again"):
        data_folder.read(path)


def test_write_makes_the_folder_and_replaces_nothing(tmp_path):
    path = tmp_path / "new" / "file"
    data_folder.write_new({path: b"content"})
    assert path.read_bytes() == b"content"
    with pytest.raises(ValueError, match=f"{path} is there already and is not replaced; move it away"):
        data_folder.write_new({path.with_name("other"): b"other", path: b"other"})
    assert path.read_bytes() == b"content"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
