"""The scripts of the paper's figures: what they say of a sweep, on one that is made by hand, and on drawn numbers."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from scipy.stats import t as student

from stpbnn import theories
from stpbnn.cards import Theories, load_card, points
from stpbnn.files import write_netcdf

ANALYSIS = Path(__file__).parents[1] / "analysis"
FIGURES = ("figure1", "figure2", "figure3", "closures", "finite_width", "student_t", "gaps", "adaptive")
TABLES = ("clusters", "deep_adaptive", "digit_pairs", "searched")
MODULES = ("collect", "differences", "learning", "readme", "rows", *FIGURES, *TABLES, "primer")


@pytest.fixture(scope="module")
def analysis():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ANALYSIS))
        yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        del sys.modules[name]


def swept(name):
    """Four points: one fine, one too noisy, one that has not converged, one that is missing."""
    card = load_card(name).model_copy(update={"sweep": {"data.train": (50, 100), "network.widths": ((10,), (20,))}})
    posterior = np.array([[0.2, 0.3], [0.4, np.nan]])
    mcse = posterior * [[0.001, 0.03], [0.001, 1.0]]
    parts = {"part": ["total", "squared_bias", "variance"]}
    place = ("train", "width")
    return xr.Dataset(
        {
            "error_posterior": ((*place, "part"), posterior[..., None] * [1.0, 0.5, 0.5]),
            "error_mcse": ((*place, "part"), mcse[..., None] * [1.0, 0.5, 0.5]),
            "error": ((*place, "theory", "part"), np.full((2, 2, 1, 3), 0.3)),
            "converged": (place, [[True, True], [False, False]]),
            "finished": (place, [[True, True], [True, False]]),
            "rhat_worst": (place, [[1.001, 1.002], [1.5, np.nan]]),
            "ess_smallest": (place, [[900.0, 800.0], [12.0, np.nan]]),
            "kernel_overlap": ((*place, "reference"), np.full((2, 2, 2), 0.7)),
            "nngp_overlap": (place, np.full((2, 2), 0.6)),
            "seconds": (place, np.full((2, 2), 90.0)),
            "device": (place, [["a cpu", "a cpu"], ["a gpu", ""]]),
        },
        {"train": [50, 100], "width": [10, 20], "theory": ["infinite width"], **parts},
        {"card": card.to_toml()},
    )


def test_tables_show_gaps_and_list_what_is_hollow_or_missing(analysis):
    data = swept("figure1-mnist")
    rows = analysis["learning"].table({"MNIST": data}).splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[1] for row in cells] == ["P = 50, N = 10", "P = 50, N = 20", "P = 100, N = 10"]
    assert [row[2] for row in cells] == ["0.2000(2)", "0.300(9) (hollow)", "0.4000(4) (hollow)"]
    assert [row[5] for row in cells] == ["+50.0(2) %", "+0(3) %", "-25.00(8) %"]
    told = analysis["learning"].missing({"MNIST": data})
    assert told.split("\n\n") == [
        "3 of 4 points, sampled on a cpu, a gpu.",
        "Missing: MNIST, P = 100, N = 20.",
        "Hollow, not converged or known to less than 2 %: MNIST, P = 50, N = 20 (R-hat 1.002, ESS 800, Monte Carlo "
        "error 3.0 %); MNIST, P = 100, N = 10 (R-hat 1.500, ESS 12, Monte Carlo error 0.1 %).",
    ]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.12294, 0.00047, "0.1229(5)"),
        (3.2, 0.4, "3.2(4)"),
        (41.2, 13.0, "41(13)"),
        (-0.51234, 0.00996, "-0.51(1)"),
        (1.0, 0.0, "1"),
    ],
)
def test_numbers_have_the_digits_that_their_errors_allow(analysis, value, error, text):
    assert analysis["learning"].digits(value, error) == text


def test_figure_1_is_drawn_from_result_files_alone(analysis, tmp_path, monkeypatch):
    for name in analysis["figure1"].CARDS.values():
        write_netcdf(tmp_path / f"{name}.nc", swept(name))
    monkeypatch.setattr(analysis["collect"], "RESULTS", tmp_path)
    monkeypatch.setattr(analysis["figure1"], "README", tmp_path / "README.md")
    monkeypatch.setattr(analysis["figure1"], "save", lambda figure, name: saved.append((figure, name)))
    (tmp_path / "README.md").write_text("<!-- figure 1: begin -->\n<!-- figure 1: end -->\n", encoding="utf-8")
    saved = []
    analysis["figure1"].main()
    (figure, name) = saved[0]
    assert (isinstance(figure, Figure), name) == (True, "figure1")
    assert "CIFAR-10 | P = 100, N = 10" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_clusters_stand_in_the_place_of_what_a_sweep_had_found(analysis, tmp_path, monkeypatch):
    """Solved at one point: elsewhere the sweep's own, of single units, or nothing."""
    row = "figure1-mnist,train=50 width=20,20,0.1,0.15,0.003,0.002,0.004,0.001,False"
    keys = "card,place,cluster,bias,variance,monte_carlo,monte_carlo_variance,systematic,systematic_variance,converged"
    (tmp_path / "searched.csv").write_text(f"{keys}\n{row}\n")
    monkeypatch.setattr(analysis["collect"], "RESULTS", tmp_path)
    flags = xr.DataArray(np.ones((2, 2, 1), dtype=bool), dims=("train", "width", "theory"))
    single = ["+50.0(2) %, n = 1", "-25.00(8) %, n = 1"]
    for name, elsewhere in (("infinite width", ["", ""]), ("adaptive kernel", single)):
        data = swept("figure1-mnist").assign_coords(theory=[name]).assign(theory_converged=flags)
        found = analysis["collect"].with_searched(data, "figure1-mnist")
        cells = [row.split(" | ") for row in analysis["learning"].table({"MNIST": found}).splitlines()]
        column = cells[0].index("adaptive kernel")
        assert cells[3][column] == "-17(3) %, n = 20, not settled"  # 0.25 beside 0.300(9)
        assert [cells[2][column], cells[4][column]] == elsewhere
        assert analysis["collect"].with_searched(data, "figure1-cifar10").identical(data)


def test_a_point_that_was_solved_has_a_row_and_is_counted(analysis, tmp_path, monkeypatch):
    """Of four points one has converged; 0.202(1) beside 0.2000(2)."""
    searched, name = analysis["searched"], "figure1-mnist"
    write_netcdf(tmp_path / f"{name}.nc", swept(name))
    (tmp_path / "README.md").write_text("<!-- searched: begin -->\n<!-- searched: end -->\n", encoding="utf-8")
    for what, value in {"RESULTS": tmp_path, "README": tmp_path / "README.md", "CARDS": (name,), "FURTHER": ()}.items():
        monkeypatch.setattr(searched, what, value)
    errors = {"monte_carlo": 0.001, "monte_carlo_variance": 0.001, "systematic": 0.0, "systematic_variance": 0.0}
    monkeypatch.setattr(searched, "run", lambda card: {"bias": 0.1, "variance": 0.102, **errors, "converged": True})
    monkeypatch.setattr(sys, "argv", ["searched.py", "--data", str(tmp_path)])
    monkeypatch.setenv("STPBNN_DATA", "")  # is set, and goes back
    for _ in range(2):  # what was solved is not solved again
        searched.main()
    assert (tmp_path / "searched.csv").read_text().splitlines()[1:] == [
        f"{name},train=50 width=10,0.1,0.102,0.001,0.001,0.0,0.0,True"
    ]
    assert f"| {name} | 1 | 1 | 1 | 1 (5 %) | 1 (10 %) | 1 | 1 |" in (tmp_path / "README.md").read_text()


def test_what_is_off_is_a_normal_score_with_the_degrees_of_freedom_of_its_errors(analysis):
    """Of Student's t with three degrees of freedom 3.182 is the 97.5 % point, 1.960 of the normal, to which chains add.

    Errors of 0.03 and 0.04 have 3 (0.05/0.03)^4 = 23.15 degrees of freedom by Welch and Satterthwaite: SciPy's t.
    """
    row = {"bias": 1.0, "variance": 1.0 + 3.182 * 0.05, "monte_carlo": 0.0, "systematic": 0.03}
    row |= {"monte_carlo_variance": 0.05, "systematic_variance": float("nan")}
    total, variance = analysis["differences"].offs(row, (2.0, 0.04), (1.0, 0.0))
    assert variance.z == pytest.approx(1.96, abs=0.03)
    assert total.z == pytest.approx(norm.isf(student.sf(3.182, 3 * (0.05 / 0.03) ** 4)), abs=0.003)
    assert (str(total), str(variance)) == ("+8.0 ± 2.0 ± 1.5", "+15.9 ± 5.0")
    assert total.covered == (total.z < 1.959964)


def test_a_missing_result_file_is_named_with_the_command_that_makes_it(analysis, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis["collect"], "RESULTS", tmp_path)
    with pytest.raises(
        SystemExit, match=r"figure1-mnist\.nc: there is no such file; make it with `uv run stpbnn sweep"
    ):
        analysis["figure1"].main()


def test_exponents_have_errors_that_cover_the_truth(analysis):
    """Spreads of 40 normal numbers whose deviation falls as P^{-1/2}: the fitted power is off by its error."""
    rng, train = np.random.default_rng(0), np.array([50, 100, 200, 400, 800])
    pulls = []
    for _ in range(300):
        spread = [np.std(rng.normal(0, P**-0.5, 40), ddof=1) for P in train]
        power, error = analysis["figure3"].exponent(train, np.array(spread), 40)
        pulls.append((power + 0.5) / error)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(300)
    assert 0.85 < np.std(pulls) < 1.15


def test_the_power_of_the_width_is_that_of_the_points_above_the_noise(analysis):
    widths = np.array([5.0, 10, 20, 50, 100, 1000])
    off = 100 / widths + np.array([0, 0, 0, 0, 0, 0.5])
    power, error = analysis["finite_width"].power(widths, off, np.full(6, 0.3))
    assert power == pytest.approx(-1, abs=1e-6)
    assert 0 < error < 0.1


def test_averages_over_draws_of_the_data_leave_out_what_is_missing(analysis):
    draws = [swept("figure1-mnist") for _ in range(3)]
    for i, one in enumerate(draws):
        one["error_posterior"] = one["error_posterior"] * (1 + 0.1 * i)
        one["converged"].loc[{"train": 100, "width": 10}] = i > 0
    data = xr.concat(draws, xr.IndexVariable("data.seed", [0, 1, 2]))
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in analysis["figure1"].averages({"MNIST": data}).splitlines()
    ]
    assert [row[:4] for row in rows[2:]] == [
        ["MNIST", "50", "10", "3"],
        ["MNIST", "50", "20", "3"],
        ["MNIST", "100", "10", "2 (1 left out)"],
    ]
    assert rows[2][4:] == ["0.22(1)", "37(7) %"]


@pytest.mark.parametrize("name", [*FIGURES, *TABLES])
def test_tables_and_figures_are_those_of_the_committed_results(analysis, name, tmp_path, monkeypatch):
    """Drawn anew, the tables of the page are what they are, and there is a figure where a script draws one."""
    page, drawn = tmp_path / "README.md", {}
    page.write_bytes((ANALYSIS / "README.md").read_bytes())
    monkeypatch.setattr(analysis[name], "README", page)
    save = {"raising": name in FIGURES}
    monkeypatch.setattr(analysis[name], "save", lambda figure, name, *_: drawn.update({name: figure}), **save)
    monkeypatch.setattr(analysis["finite_width"], "PICTURE", tmp_path / "widths.png")
    monkeypatch.setattr(sys, "argv", [name])
    analysis[name].main()
    assert page.read_text(encoding="utf-8") == (ANALYSIS / "README.md").read_text(encoding="utf-8")
    assert list(drawn) == [name] * (name in FIGURES)
    assert all((ANALYSIS / "results" / f"{each}.{suffix}").is_file() for each in drawn for suffix in ("png", "svg"))


def test_finished_points_of_a_later_sweep_replace_those_of_an_earlier_one(analysis):
    earlier = swept("figure1-mnist")
    later = earlier.assign(
        finished=(("train", "width"), [[False, True], [False, True]]),
        error_posterior=earlier["error_posterior"].fillna(0.5) + 1.0,
        converged=xr.ones_like(earlier["converged"]),
        device=(("train", "width"), [["another one"] * 2] * 2),
    )
    found = analysis["collect"].merged(earlier, later)
    np.testing.assert_allclose(found["error_posterior"].sel(part="total"), [[0.2, 1.3], [0.4, 1.5]])
    assert found["finished"].values.tolist() == [[True, True], [True, True]]
    assert found["converged"].values.tolist() == [[True, True], [False, True]]
    assert found["device"].values.tolist() == [["a cpu", "another one"], ["a gpu", "another one"]]
    assert found["converged"].dtype == bool
    assert found.attrs == earlier.attrs


def test_collected_theories_are_those_of_single_points(analysis):
    """Closed forms are solved anew, what was simulated is kept; the overlap of a linear kernel is that of X Xᵀ."""
    card = load_card("smoke-1hl-linear").model_copy(update={"sweep": {"network.widths": ((5,), (50,))}})
    sweep = xr.Dataset(
        {
            "finished": ("width", [True, False]),
            "error_posterior": (("width", "part"), np.ones((2, 3))),
            "error": (("width", "theory", "part"), np.arange(12.0).reshape(2, 2, 3)),
            "theory_converged": (("width", "theory"), np.ones((2, 2), dtype=bool)),
        },
        {
            "width": [5, 50],
            "part": ["total", "squared_bias", "variance"],
            "theory": ["of an older version", "adaptive kernel"],
        },
        {"card": card.to_toml()},
    )
    found = analysis["collect"].with_theories(sweep)
    assert found["error_posterior"].equals(sweep["error_posterior"])
    kept = {"theory": "adaptive kernel"}
    np.testing.assert_array_equal(found["error"].sel(kept), sweep["error"].sel(kept))
    assert found["theory"].values.tolist() == ["infinite width", "proportional limit", "finite width", kept["theory"]]
    closed = card.model_copy(update={"theories": Theories(names=("infinite", "proportional", "finite"))})
    for (i,), point in points(closed).items():
        single = theories.theory(point)["error"]
        np.testing.assert_allclose(found["error"].isel(width=i).sel(theory=single["theory"]), single, rtol=1e-6)
    X, y, *_ = card.data.load()
    np.testing.assert_allclose(found["nngp_overlap"], y @ X @ X.T @ y / (y @ y) / np.linalg.norm(X @ X.T), rtol=1e-5)


def test_the_table_of_the_primer_is_that_of_the_committed_results(analysis):
    page = analysis["primer"].PRIMER.read_text(encoding="utf-8")
    assert f"<!-- load: begin -->\n{analysis['primer'].table()}\n<!-- load: end -->" in page


def test_order_parameters_of_the_primer_maximise_the_posterior_of_a_scale(analysis):
    """The mode of log Q for a Gamma(N/2, N/2) prior and P targets of mean square s, by SciPy's minimiser."""
    page = analysis["primer"].PRIMER.read_text(encoding="utf-8")
    rows = re.findall(r"^\| α = ([\d.]+) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for load, cells in rows:
        for s, shown in zip((0.25, 1.0, 4.0), map(float, cells.split("|")), strict=True):

            def action(u, s=s, load=float(load)):
                return np.exp(u) - u + load * (u + s * np.exp(-u))

            assert shown == pytest.approx(np.exp(minimize_scalar(action, (-1, 1)).x), abs=0.006)


def test_cases_that_have_rows_are_not_run_again(analysis, tmp_path):
    file, ran = tmp_path / "found.csv", []

    def run(data, N):
        ran.append((data, N))
        return {"data": data, "N": N, "error": N / 8}

    for cases in ([("a", 1), ("a", 2)], [("a", 2), ("b", 2), ("b", 2)]):
        analysis["rows"].fill(file, ("data", "N"), cases, run)
    assert ran == [("a", 1), ("a", 2), ("b", 2)]
    assert [row["error"] for row in analysis["rows"].read_rows(file)] == [0.125, 0.25, 0.25]
