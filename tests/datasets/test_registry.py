import pytest

from stpbnn import datasets


@pytest.mark.parametrize(("name", "nearest"), [("mnsit", "mnist"), ("cifar-10", "cifar10"), ("digit", "digits")])
def test_unknown_name(name, nearest):
    with pytest.raises(ValueError, match=f"got '{name}', expected one of 'digits', .*; did you mean '{nearest}'"):
        datasets.load(name)


def test_describe_says_what_is_there(small_mnist, tmp_path):
    rows = datasets.describe(tmp_path)
    assert tuple(row.name for row in rows) == datasets.names()
    assert {row.name for row in rows if not row.found} == {
        *("cifar10", "fashion_mnist", "kmnist", "emnist_balanced", "emnist_letters", "emnist_digits")
    }
    assert all(row.summary and "\n" not in row.summary for row in rows)
