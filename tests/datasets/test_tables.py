import numpy as np
import pytest

from stpbnn.datasets.task_arrays import Table, choose_classes, encode, share_out

TABLE = Table(np.arange(10.0)[:, None], np.array([3, 5, 7, 3, 5, 7, 3, 5, 7, 3]))


def inputs(pair):
    return [table.inputs[:, 0].tolist() for table in pair]


@pytest.mark.parametrize(
    ("train", "test", "rows"),
    [
        (3, 2, (3, 2)),
        (None, 2, (8, 2)),
        (3, None, (3, 7)),
        (None, None, (8, 2)),
        (10, None, (10, 0)),
        (10, 0, (10, 0)),
    ],
)
def test_one_table_gives_the_test_rows_after_the_training_rows(train, test, rows):
    expected = np.arange(10)
    assert inputs(share_out("it", [TABLE], train, test, None)) == [
        expected[: rows[0]].tolist(),
        expected[rows[0] : sum(rows)].tolist(),
    ]
    expected = np.random.default_rng(4).permutation(10)
    assert inputs(share_out("it", [TABLE], train, test, 4)) == [
        expected[: rows[0]].tolist(),
        expected[rows[0] : sum(rows)].tolist(),
    ]


def test_two_tables_are_permuted_by_one_generator():
    short = Table(TABLE.inputs[:6], TABLE.targets[:6])
    rng = np.random.default_rng(4)
    first, second = rng.permutation(10), rng.permutation(6)
    assert inputs(share_out("it", [TABLE, short], 4, None, 4)) == [first[:4].tolist(), second.tolist()]
    assert inputs(share_out("it", [TABLE, short], None, 2, None)) == [list(range(10)), [0, 1]]


@pytest.mark.parametrize(
    ("tables", "train", "test", "message"),
    [
        ([TABLE], 9, 2, "it has 10 rows of these classes for training and test together; got train=9 and test=2"),
        ([TABLE], 11, None, "it has 10 rows .* got train=11"),
        ([TABLE], None, 10, "it has 10 rows .* got train=0 and test=10"),
        ([TABLE, TABLE], 11, 1, "it has 10 train rows of these classes; got train=11"),
        ([TABLE, TABLE], 1, 11, "it has 10 test rows of these classes; got test=11"),
    ],
)
def test_more_rows_than_there_are(tables, train, test, message):
    with pytest.raises(ValueError, match=message):
        share_out("it", tables, train, test, None)


def test_classes_are_all_or_those_asked_for_in_order():
    assert choose_classes("it", TABLE, None) == (3, 5, 7)
    assert choose_classes("it", TABLE, [7, 3]) == (7, 3)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((3,), r"classes=\(3,\): expected two or more different classes"),
        (3, "classes=3: expected two or more"),
        ((3, 3), "two or more different classes"),
        ((3, 4), "the training rows of it have no class 4; they have 3, 5, 7"),
    ],
)
def test_choose_classes_refuses(classes, message):
    with pytest.raises(ValueError, match=message):
        choose_classes("it", TABLE, classes)


def test_labels_follow_the_order_of_the_classes():
    targets = TABLE.targets[:2]
    assert encode(targets, (3, 5), None).tolist() == [-1, 1]
    assert encode(targets, (5, 3), None).tolist() == [1, -1]
    assert encode(targets, (5, 3), [0, 0.5]).tolist() == [0.5, 0]
    assert encode(targets, (5, 3), "one-hot").tolist() == [[0, 1], [1, 0]]
    assert encode(targets, (7, 5, 3), None).tolist() == [[0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        ((3, 5), "onehot", "labels='onehot': expected two different numbers, such as .* or 'one-hot'"),
        ((3, 5), (1, 1), "two different numbers"),
        ((3, 5), (1, np.nan), "two different numbers"),
        ((3, 5), (1, 2, 3), "two different numbers"),
        ((3, 5), ("a", "b"), "two different numbers"),
        ((3, 5), 1, "two different numbers"),
        ((3, 5, 7), (-1, 1), r"labels=\(-1, 1\) are for two classes; got 3"),
    ],
)
def test_encode_refuses(classes, labels, message):
    with pytest.raises(ValueError, match=message):
        encode(TABLE.targets, classes, labels)
