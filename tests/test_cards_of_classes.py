"""Cards whose targets are classes, from the data to the report, against scikit-learn and arithmetic written out."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

import stpbnn
from stpbnn import FullyConnected
from stpbnn.cards import Card, drafting, load_card
from stpbnn.classification import class_grid, posterior_scores
from stpbnn.curves import theory_curves
from stpbnn.datasets import given_task, load, load_table
from stpbnn.forecasts import table as as_table
from stpbnn.runs import fingerprint, run_card
from stpbnn.theories import theory

CARD = """
name = "tiny"
title = "Two digits"
[network]
widths = [4]
likelihood = "bernoulli"
[data]
name = "digits"
classes = [3, 8]
train = 12
test = 10
[posterior]
temperature = 1.0
[sampler]
warmup = 20
draws = 20
chains = 2
keep_draws = 8
"""


@pytest.fixture
def write(tmp_path):
    def write(text=CARD, **changes):
        path = tmp_path / "card.toml"
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def changed(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def flowers():
    """Three kinds of flower, in a table with the classes as text."""
    rng = np.random.default_rng(0)
    kinds = np.array(["lily", "rose", "tulip"])[np.arange(30) % 3]
    height = rng.normal(size=30) + (kinds == "rose")
    return pd.DataFrame({"height": height, "width": rng.normal(size=30), "kind": kinds})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, flowers):
    """A run of a table of one's own, with three classes in words."""
    folder = tmp_path_factory.mktemp("flowers")
    flowers.to_csv(folder / "flowers.csv", index=False)
    text = changed(
        CARD,
        ('likelihood = "bernoulli"', 'likelihood = "categorical"\noutputs = 3'),
        ('name = "digits"\nclasses = [3, 8]', 'file = "flowers.csv"\ntarget = "kind"'),
        ("train = 12", "train = 20"),
        ("keep_draws = 8", 'keep_draws = 8\n[theories]\nnames = ["infinite", "proportional"]'),
    )
    (folder / "card.toml").write_text(text, encoding="utf-8")
    return run_card(load_card(folder / "card.toml"), folder / "run", progress=False)


def test_data_are_labels_themselves(flowers):
    X, y, _, yt = load("digits", (3, 8), 12, 10, labels="classes")
    signs = load("digits", (3, 8), 12, 10)
    np.testing.assert_array_equal(signs[1], np.where(y == 8, 1, -1))
    np.testing.assert_array_equal(signs[3], np.where(yt == 8, 1, -1))
    X, y, Xt, yt = task = load_table(flowers, "kind", test=10, classes=True)
    assert y.tolist() == flowers["kind"].tolist()[:20]
    assert yt.tolist() == flowers["kind"].tolist()[20:]
    assert (X.shape, Xt.shape) == ((20, 2), (10, 2))
    assert task.preparation.describe()[-1] == "target kind: 3 classes: lily, rose, tulip"
    again = type(task.preparation).from_json(task.preparation.to_json())
    assert again.transform_targets(flowers).tolist() == flowers["kind"].tolist()
    numbered = load_table(
        flowers.assign(kind=flowers["kind"].map({"lily": 0, "rose": 1, "tulip": 2})), "kind", classes=True
    )
    assert numbered.y.dtype.kind == "i"


def test_card_has_one_readout_and_reads_back(write):
    card = load_card(write())
    assert card.sampler.readout == "explicit"
    assert load_card(write(card.to_toml())) == card
    assert card.build() == FullyConnected((4,), likelihood="bernoulli")
    assert fingerprint(card, card.load()) == fingerprint(card, card.load())


def test_fingerprint_of_numbers_knows_nothing_of_likelihoods(write):
    """Runs of earlier versions are found again."""
    from stpbnn.runs.marks import settings_of

    card = load_card(write(changed(CARD, ('likelihood = "bernoulli"\n', ""))))
    assert "network.likelihood" not in settings_of(card)
    assert "network.likelihood" in settings_of(load_card(write()))


def test_run_of_a_table_in_words(finished, flowers):
    """Scores, z values and confusion of a whole run are those of the draws and of scikit-learn."""
    comparison, p = finished.comparison, finished.posterior["predictions"]["class_probability"]
    assert p["class"].to_numpy().tolist() == ["lily", "rose", "tulip"]
    labels = flowers["kind"].to_numpy()[20:]
    mean = p.mean(("chain", "draw")).to_numpy()
    np.testing.assert_allclose(comparison["f_mean"], mean, atol=1e-6)
    by_name = comparison["scores_posterior"]
    assert by_name.sel(score="negative_log_likelihood") == pytest.approx(log_loss(labels, mean), rel=1e-5)
    classes = np.array(["lily", "rose", "tulip"])
    assert by_name.sel(score="accuracy") == accuracy_score(labels, classes[mean.argmax(axis=1)])
    assert comparison["log_score_posterior"].sum() == pytest.approx(-10 * log_loss(labels, mean), rel=1e-5)
    expected = posterior_scores(finished.posterior)["standard_error"]
    xr.testing.assert_allclose(comparison["scores_mcse"].drop_vars("score"), expected.drop_vars("score"))
    net = finished.card.build()
    X, y, Xt, _ = finished.card.load()
    reference = stpbnn.ProportionalLimitClassifier(net).fit(X, y).predict_proba(Xt)
    found = finished.theory["mean"].sel(theory="proportional limit")
    np.testing.assert_allclose(found, reference, atol=1e-12)
    z = (reference - mean) / comparison["mcse"].to_numpy()
    np.testing.assert_allclose(comparison["z"].sel(theory="proportional limit"), z, rtol=1e-3)
    counts = confusion_matrix(labels, classes[mean.argmax(axis=1)], labels=classes)
    shown = [text.get_text() for text in stpbnn.figures.plot_confusion(comparison).texts]
    assert shown == [str(count) if count else "" for count in counts.ravel()]
    report = finished.report.read_text("utf-8")
    for words in ("lily, rose, tulip; softmax of the outputs", "Reliability", "Confusion matrix", "−log p"):
        assert words in report


def test_predictions_at_new_inputs(finished, flowers):
    found = finished.predict(flowers[["width", "height"]][:3])
    assert found["probability"].dims == ("theory", "test_point", "class")
    np.testing.assert_allclose(found["probability"].sum("class"), 1, rtol=1e-6)
    X = finished.preparation.transform(flowers[:3])
    of_draws = softmax(stpbnn.samplers.functions(finished.posterior, X)["f"].to_numpy(), axis=-1)
    np.testing.assert_allclose(found["probability"].sel(theory="posterior"), of_draws.mean(axis=(0, 1)), rtol=1e-5)
    table = as_table(found)
    assert table.columns.tolist()[:4] == [
        "posterior class",
        "posterior P(lily)",
        "posterior P(rose)",
        "posterior P(tulip)",
    ]
    assert (table["posterior class"] == found["label"].sel(theory="posterior").to_numpy()).all()
    with pytest.raises(ValueError, match="noise: got True with classes"):
        finished.predict(flowers[:3], noise=True)


def test_compare_with_classifiers_is_what_a_run_does(finished):
    X, y, Xt, yt = finished.card.load()
    fitted = stpbnn.NNGPClassifier(finished.card.build()).fit(X, y)
    found = stpbnn.compare(finished.posterior, {"infinite width": fitted}, Xt, yt)
    xr.testing.assert_allclose(found["z"], finished.comparison["z"].sel(theory=["infinite width"]))
    with pytest.raises(ValueError, match="posterior: got one of class probabilities beside the NNGPRegressor"):
        stpbnn.compare(finished.posterior, {"a": stpbnn.NNGPRegressor().fit(X, X[:, 0])}, Xt)
    with pytest.raises(ValueError, match=r"y_test: got the class 'oak', which the training set lacks"):
        stpbnn.compare(finished.posterior, {"a": fitted}, Xt, ["oak"] * len(Xt))


def test_verdict_knows_draws_of_the_theory_itself(finished):
    """Draws whose mean is the theory's, by construction: it agrees; those of half the log odds differ."""
    X, y, Xt, yt = finished.card.load()
    two = y != "tulip"
    model = stpbnn.NNGPClassifier(FullyConnected((4,), likelihood="bernoulli")).fit(X[two], y[two])
    truth, rng = model.predict_proba(Xt)[:, 1], np.random.default_rng(0)
    theory_of = stpbnn.comparison.predict_theories(
        {"infinite width": model}, Xt, np.where(yt == "lily", "lily", "rose")
    )
    for shrunk, agrees in ((1.0, True), (0.5, False)):
        p = expit(shrunk * np.log(truth / (1 - truth))) + 0.01 * rng.uniform(-1, 1, (4, 500, len(Xt)))
        groups = {
            "predictions": xr.Dataset(
                {
                    "class_probability": (("chain", "draw", "test_point", "class"), np.stack([1 - p, p], axis=-1)),
                    "f": (("chain", "draw", "test_point"), p),
                }
            ),
            "predictions_constant_data": xr.Dataset({"y_test": ("test_point", np.where(yt == "lily", -1.0, 1.0))}),
        }
        posterior = xr.DataTree.from_dict(groups)
        posterior.attrs["classes"] = '["lily", "rose"]'
        found = stpbnn.comparison.compare_predictions(posterior, theory_of)
        assert bool(found["agrees"].item()) is agrees
        assert "class probabilities that differ by" in found["verdict"].item()


def test_scores_have_the_errors_that_replications_show():
    """Standard errors of all four scores against the spread over 60 independent posteriors."""
    rng = np.random.default_rng(1)
    logits, truth = rng.normal(0, 1.5, (40, 3)), rng.integers(0, 3, 40)
    values, errors = [], []
    for _ in range(60):
        p = softmax(logits + rng.normal(0, 1.0, (2, 100, 40, 3)), axis=-1)
        groups = {
            "predictions": xr.Dataset({"class_probability": (("chain", "draw", "test_point", "class"), p)}),
            "predictions_constant_data": xr.Dataset({"y_test": (("test_point", "output"), np.eye(3)[truth])}),
        }
        found = posterior_scores(xr.DataTree.from_dict(groups))
        values.append(found["value"].to_numpy())
        errors.append(found["standard_error"].to_numpy())
    spread, told = np.std(values, axis=0), np.sqrt(np.mean(np.square(errors), axis=0))
    np.testing.assert_allclose(told[:2], spread[:2], rtol=0.35)
    assert (told[2:] > 0.5 * spread[2:]).all()
    assert (told[2:] < 3 * spread[2:]).all()


def test_theories_over_a_sweep_are_those_of_each_point(write):
    card = load_card(write(CARD + '[sweep]\n"network.widths" = [[3], [30]]\n"posterior.temperature" = [0.5, 1.0]\n'))
    curves = theory_curves(card)
    X, y, Xt, yt = card.load()
    for N in (3, 30):
        net = FullyConnected((N,), likelihood="bernoulli")
        model = stpbnn.FiniteWidthClassifier(net, temperature=0.5, approximation="ep").fit(X, y)
        at = curves.sel(theory="finite width", width=N, temperature=0.5).squeeze("train")
        assert at["error"].item() == pytest.approx(log_loss(yt, model.predict_proba(Xt)), rel=1e-9)
        assert at["scores"].sel(score="accuracy") == model.score(Xt, yt)
        assert at["order_parameters"].item() == pytest.approx(model.order_parameters_[0])
    assert stpbnn.figures.plot_learning_curve(curves).get_ylabel() == "negative log likelihood of a label"


@pytest.mark.parametrize(
    ("net", "y", "yt", "message"),
    [
        (FullyConnected((3,)), [0, 1], [0, 1], "net: got the likelihood 'gaussian'"),
        (FullyConnected((3,), likelihood="bernoulli"), [1, 1], [0, 1], "y: got one class only, 1, expected at least"),
        (FullyConnected((3,), likelihood="bernoulli"), ["a", 1], [0, 1], "y: got labels of mixed type"),
        (
            FullyConnected((3,), likelihood="bernoulli"),
            [0, 1],
            [0, 7],
            r"y_test: got the class 7, which the training set lacks",
        ),
        (
            FullyConnected((3,), outputs=3, likelihood="categorical"),
            [0, 1],
            [0, 1],
            r"y: got 2 classes for a categorical likelihood of 3 outputs",
        ),
    ],
)
def test_curves_of_impossible_classes_are_refused(net, y, yt, message):
    with pytest.raises(ValueError, match=message) as caught:
        class_grid(net, np.eye(2), y, np.eye(2), yt, widths=[3], temperatures=[1.0])
    assert "\n" not in str(caught.value)


def test_arrays_with_labels_of_any_kind(flowers):
    inputs, labels = flowers[["height", "width"]], flowers["kind"] == "rose"
    net, data = FullyConnected((3,), likelihood="bernoulli"), (inputs[:20], labels[:20], inputs[20:], labels[20:])
    found = stpbnn.sweep(net, data, widths=[3], theories=["proportional"], sample=False, progress=False)
    model = stpbnn.ProportionalLimitClassifier(net, approximation="ep").fit(inputs[:20], labels[:20])
    p = model.predict_proba(inputs[20:])
    assert found["error"].item() == pytest.approx(log_loss(labels[20:], p), rel=1e-9)
    assert found["temperature"].item() == 1.0
    task = given_task(data, classes=True)
    assert task.preparation.describe()[-1] == "target kind: 2 classes: False, True"
    with pytest.raises(ValueError, match="yt: got 9 labels, expected 10"):
        given_task((*data[:3], labels[21:]), classes=True)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("[4]", "[4]\noutputs = 2")], "network.likelihood: got 'bernoulli' with 2 output"),
        ([("draws = 20", 'draws = 20\nreadout = "marginal"')], 'sampler.readout: got "marginal" with network.like'),
        ([("train = 12", "train = 12\nlabels = [-1, 1]")], "data.labels: got it with network.likelihood"),
        ([('"bernoulli"', '"poisson"')], 'network.likelihood: got "poisson", expected "gaussian" for numbers'),
        ([("[posterior]", '[process]\nname = "finite-width"\n[posterior]')], "process.name: got .* leave it out"),
        ([("temperature = 1.0", "temperature = 0")], "posterior.temperature: got 0, expected a positive number"),
        ([("train = 12", "train = 1")], "data.train: got one class only, 3, in 1 training rows"),
        ([("[3, 8]", "[3, 5, 8]")], 'network.outputs: got 1 .* have 3; give likelihood = "categorical", outputs = 3'),
        ([('name = "digits"\nclasses = [3, 8]', 'name = "diabetes"')], "data.name: diabetes is a regression set"),
        (
            [("[3, 8]", "[3, 8, 9]"), ("train = 12", "train = 2")],
            r"data.test: got the class 9, which the training set lacks",
        ),
        (  # before the outputs, which would fit all of them
            [("[3, 8]", "[3, 8, 9]"), ("train = 12", "train = 2"), ('"bernoulli"', '"categorical"\noutputs = 3')],
            r"data.test: got the class 9, which the training set lacks; take more training rows or another",
        ),
        ([("keep_draws = 8", 'keep_draws = 8\n[theories]\nnames = ["adaptive"]')], "theories.names: got 'adaptive'"),
    ],
)
def test_mistakes_are_refused_in_a_line(write, pairs, message):
    with pytest.raises(ValueError, match=message) as caught:
        theory(load_card(write(changed(CARD, *pairs))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (["kind", "width"], None, "target: got 2 columns, expected one, which names the class"),
        ("width", None, "column 'width', row 0: got -?[0-9.]+ as a class, expected text or whole numbers"),
        ("kind", "lily", r"got 1 class in 24 training rows, expected 2 to 30"),
    ],
)
def test_targets_that_are_no_classes(flowers, target, kind, message):
    table = flowers if kind is None else flowers.assign(kind=kind)
    with pytest.raises(ValueError, match=message):
        load_table(table, target, classes=True)


def test_test_rows_hold_no_fractions_as_classes(flowers):
    """A class 1.5 of the test rows was taken for the class 1."""
    numbered = flowers.assign(kind=flowers["kind"].map({"lily": 0.0, "rose": 1.0, "tulip": 2.0}))
    numbered.loc[29, "kind"] = 1.5
    with pytest.raises(ValueError, match=r"file: column 'kind', row 29: got 1.5 as a class, expected text or whole"):
        load_table(numbered, "kind", test=10, classes=True)
    with pytest.raises(ValueError, match=r"test_file: column 'kind', row 29: got 1.5 as a class"):
        load_table(numbered[:20], "kind", test_file=numbered[20:], classes=True)


@pytest.mark.parametrize("classes", [True, False])
def test_a_target_of_dates_is_refused_in_a_sentence(flowers, classes):
    dated = flowers.assign(kind=pd.date_range("2020-01-01", periods=30))
    with pytest.raises(ValueError, match=r"days since the first or the like, or choose another target$"):
        load_table(dated, "kind", classes=classes)


def test_numbers_asked_of_a_table_of_classes(flowers):
    with pytest.raises(ValueError, match=r'got the text .*; for classes give the network a likelihood, "bernoulli"'):
        load_table(flowers, "kind")


def test_python_card_has_the_readout_too():
    network = {"widths": (4,), "likelihood": "bernoulli"}
    card = Card(name="a", title="b", network=network, data={"name": "digits"}, posterior={"temperature": 1.0})
    assert card.sampler.readout == "explicit"
    assert card == Card(name="a", title="b", network=network, data={"name": "digits"})


@pytest.mark.parametrize("text", ["[posterior]\ntemperature = 1.0\n", "temperature = 1.0\n"])
def test_a_card_of_classes_is_bayes_unless_it_says_otherwise(write, text):
    """And one of numbers is not: the variance of their noise has no value by nature."""
    assert load_card(write(changed(CARD, (text, "")))).posterior.temperature == 1.0
    of_numbers = changed(CARD, (text, ""), ('likelihood = "bernoulli"\n', ""))
    with pytest.raises(ValueError, match=r"posterior(\.temperature)?: missing"):
        load_card(write(of_numbers))


def test_labels_of_mixed_type_in_a_table_are_refused_with_what_to_do(tmp_path):
    """Text and numbers in one column, whether classes are asked for or not."""
    table = pd.DataFrame({"x": np.arange(12.0), "kind": ["cat", 1, 2] + [1, 2, 1] * 3})
    table.to_csv(tmp_path / "mixed.csv", index=False)
    for classes in (False, True):
        with pytest.raises(ValueError, match=r"column 'kind', row 2: got 'cat'.*write all of them as text, or all as"):
            drafting.draft(tmp_path / "mixed.csv", ["kind"], classes=classes)
