"""The table of experiments, against differences of metrics by hand."""

import numpy as np
import pytest

from dustcast.learning.comparison import compare
from dustcast.learning.metrics import weighted_metrics
from dustcast.tables import Table


def predictions(noise, n_galaxies=20, scales=("1kpc", "3kpc"), seed=0, regressor="random_forest"):
    rng = np.random.default_rng(seed)
    rows = [
        (f"G{g}/{scale}/{k}_0", f"G{g}", scale)
        for scale in scales
        for g in range(n_galaxies)
        for k in range(1 + g % 4)
    ]
    ids, galaxy, scale = (np.array(column, object) for column in zip(*rows))
    n = len(rows)
    truth, error = rng.normal(size=n), rng.normal(size=n)
    columns = {"id": ids, "galaxy": galaxy, "scale": scale, "truth": truth}
    columns |= {"prediction": truth + noise * error, "sigma": np.full(n, 0.3)}
    columns |= {"regressor": np.full(n, regressor, object), "target": np.full(n, "sMd", object)}
    return Table(columns)


def test_differences_are_those_of_the_metrics():
    fiducial, worse = predictions(0.3), predictions(0.4)
    table = compare({"same": fiducial, "worse": worse}, fiducial, "random_forest", n_bootstrap=200)
    assert table.n_rows == 4
    assert list(table["experiment"]) == ["same", "same", "worse", "worse"]
    np.testing.assert_array_equal(table["rmse_difference"][:2], 0)
    assert np.all(np.isnan(table["rmse_significance"][:2]))
    for row, scale in ((2, "1kpc"), (3, "3kpc")):
        parts = [t.rows(t["scale"] == scale) for t in (worse, fiducial)]
        galaxy = list(parts[0]["galaxy"])
        weight = [1 / galaxy.count(name) for name in galaxy]
        one, two = (
            weighted_metrics(p["truth"], p["prediction"], p["sigma"], weight) for p in parts
        )
        assert table["rmse"][row] == pytest.approx(one["rmse"])
        assert table["rmse_fiducial"][row] == pytest.approx(two["rmse"])
        assert table["rmse_difference"][row] == pytest.approx(one["rmse"] - two["rmse"])
        # The same errors, a third larger: far surer than two independent samples would say.
        assert table["rmse_significance"][row] > 5
        assert table["n_galaxies"][row] == 20


def test_samples_of_one_side_only_are_left_out_with_the_reason():
    fiducial = predictions(0.3, scales=("1kpc",))
    more = predictions(0.3, n_galaxies=25, regressor="xgboost")
    table = compare({"more": more}, fiducial, "random_forest", n_bootstrap=100)
    assert list(table["n_galaxies"]) == [20, 0]
    assert table["reason"][0] == ""
    assert "no sample in common" in table["reason"][1]
    assert np.isnan(table["rmse"][1])
    assert list(table["regressor"]) == ["xgboost", "xgboost"]
