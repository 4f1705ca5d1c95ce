"""Tables of OpenML, through scikit-learn's client, which reads the copies that scikit-learn has for its own tests."""

import gzip
import io
import urllib.error
from importlib import resources

import numpy as np
import pytest
import sklearn.datasets._openml as client
from scipy.io import arff

from stpbnn.cards import Data

CPU = resources.files("sklearn.datasets.tests.data.openml.id_561")
ANSWERS = {  # what the client asks for, and the file with the answer
    "data/qualities/561": "api-v1-jdq-561.json.gz",
    "data/features/561": "api-v1-jdf-561.json.gz",
    "data/561": "api-v1-jd-561.json.gz",
    "download/52739": "data-v1-dl-52739.arff.gz",
    "data_name/cpu/": "api-v1-jdl-dn-cpu-l-2-s-act-.json.gz",
}


class Answer(io.BytesIO):
    """What urlopen returns."""

    def info(self):
        return {}


@pytest.fixture
def served(monkeypatch):
    def urlopen(request, *args, **kwargs):
        url = request.get_full_url()
        for asked, name in ANSWERS.items():
            if asked in url:
                return Answer(gzip.decompress((CPU / name).read_bytes()))
        raise urllib.error.URLError(f"no network here: {url}")

    monkeypatch.setattr(client, "urlopen", urlopen)


@pytest.mark.usefixtures("served")
def test_numbers_and_categories_are_those_of_the_arff_file(tmp_path):
    table, _ = arff.loadarff(io.StringIO(gzip.decompress((CPU / ANSWERS["download/52739"]).read_bytes()).decode()))
    data = Data(openml=561, test=9, standardize="none", normalize_target=False, data_home=str(tmp_path))
    X, y, Xt, yt = task = data.load()
    names = task.preparation.feature_names
    whole = np.vstack([X, Xt])
    for name in ("MYCT", "MMAX", "CACH"):
        np.testing.assert_array_equal(whole[:, names.index(name)], table[name])
    np.testing.assert_array_equal(whole[:, names.index("vendor=ibm")], table["vendor"] == b"ibm")
    np.testing.assert_array_equal(np.r_[y, yt], table["class"])
    assert len(yt) == 9
    assert any(tmp_path.iterdir())  # kept, for the next time


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"openml": 562}, r"data\.openml: 562 cannot be had through scikit-learn \(.*no network here.*; check the"),
        ({"openml": "cpu"}, r"data\.openml: got 'cpu', of which there are several versions; give the number of one"),
        ({"openml": 561, "target": "vendor"}, r"data\.openml: column 'vendor', row 1: got the text 'adviser', e"),
        ({"openml": 561, "drop": ["vendr"]}, r"data\.drop: got 'vendr', expected one of .*; did you mean 'vendor'\?"),
        ({"openml": 561, "test_file": "a.csv"}, r"data\.test_file: got it with data\.openml = 'OpenML 561', and"),
    ],
)  # fmt: skip
def test_refusals(settings, expected, tmp_path):
    with pytest.raises(ValueError, match=f"^{expected}"):
        Data(**settings, data_home=str(tmp_path)).load()
