import numpy as np
import pytest

from dustcast.learning import experiments as ex
from dustcast.learning import metrics as mt
from dustcast.learning.folds import split_folds
from dustcast.tables import DataError, Table

QUICK_STACK = {
    "base": ["gaussian_process", "random_forest", "extra_trees"],
    "random_forest": {"n_estimators": 20},
    "extra_trees": {"n_estimators": 20, "min_samples_leaf": 1},
    "gaussian_process": {"max_rows": 150},
    "n_inner": 3,
}


def features(n_galaxies=60, n_samples=1, seed=0, offset=0.0, noise=0.1, scales=("1kpc",)):
    """Galaxies that are clumps in feature space; each has a private offset in the target."""
    draw = np.random.default_rng(seed)
    galaxy = np.repeat([f"g{k:03d}" for k in range(n_galaxies)], n_samples).astype(object)
    n = len(galaxy)
    centre = np.repeat(draw.normal(size=(n_galaxies, 3)), n_samples, axis=0)
    inputs = centre + 0.1 * draw.normal(size=(n, 3))
    private = np.repeat(draw.normal(0, offset, n_galaxies), n_samples) if offset else 0.0
    target = inputs[:, 0] + private + noise * draw.normal(size=n)
    scale = draw.choice(np.array(scales, dtype=object), size=n)
    return Table(
        {
            "id": np.array([f"{g}/{k}" for k, g in enumerate(galaxy)], dtype=object),
            "galaxy": galaxy,
            "scale": scale,
            "weight": np.ones(n),
            "c_Spitzer_3.6": inputs[:, 0],
            "c_WISE_12": inputs[:, 1],
            "log_w1": inputs[:, 2],
            "log_scale": np.where(scale == "1kpc", 3.0, 3.5),
            "sLd": target,
            "sLd_err": np.full(n, 0.05),
        },
        meta={"reference": "WISE_3.4"},
    )


@pytest.mark.parametrize(
    ("regressor", "parameters"),
    [
        ("random_forest", {"n_estimators": 20}),
        ("extra_trees", {"n_estimators": 20, "min_samples_leaf": 1}),
        ("xgboost", {"n_estimators": 60}),
        ("gaussian_process", {"max_rows": 150}),
        ("ensemble", QUICK_STACK),
    ],
)
@pytest.mark.parametrize(("n_galaxies", "validation"), [(160, "cross"), (480, "holdout")])
def test_no_step_learns_a_private_offset(regressor, parameters, n_galaxies, validation):
    """What only a galaxy's own samples can tell, no held-out galaxy can show."""
    offset = 0.5
    table = features(n_galaxies, n_samples=8 if n_galaxies < 200 else 4, seed=1, offset=offset)
    names = sorted(set(table["galaxy"]))
    train = names[: n_galaxies // 2]
    inside = np.isin(table["galaxy"].astype(str), train)
    columns = ex.feature_columns(table)
    settings = {"parameters": parameters, "n_inner": 3, "sigma": {"max_rounds": 30}}
    settings["sigma"]["validation"] = validation
    model = ex.train_fold(table, columns, "sLd", train, regressor, settings, seed=3)
    test = ex.predict_fold(table.rows(~inside), model, 0)
    values = mt.weighted_metrics(test["truth"], test["prediction"], test["sigma"], test["weight"])
    assert values["rmse"] > 0.9 * offset
    # The relation itself is learned: without it the scatter would be hypot(1, offset).
    assert values["rmse"] < 0.8 * np.hypot(1, offset)
    # Had any step of the uncertainty seen the offsets, sigma would be near 0.1 and chi2 near 20;
    # 48 galaxies of the holdout know their scatter to 10%, its square to 20%.
    assert 0.5 < values["chi2"] < 1.6
    if regressor == "ensemble":
        seen = np.std(model.mean.out_of_fold_ - table["sLd"][inside])
        assert seen > 0.9 * offset


def test_errors_of_a_scale_with_few_samples_are_known():
    """One coarse sample a galaxy, of three times the error of its 60 fine ones."""
    rng = np.random.default_rng(5)
    table = features(60, n_samples=61, seed=2)
    coarse = np.arange(table.n_rows) % 61 == 0
    columns = dict(table) | {
        "scale": np.where(coarse, "3kpc", "1kpc").astype(object),
        "log_scale": np.where(coarse, 3.5, 3.0),
        "sLd": table["c_Spitzer_3.6"] + np.where(coarse, 0.3, 0.1) * rng.normal(size=table.n_rows),
    }
    table = Table(columns, meta=table.meta)
    names = sorted(set(table["galaxy"]))
    inputs = ["c_Spitzer_3.6", "c_WISE_12", "log_w1", "log_scale"]
    model = ex.train_fold(table, inputs, "sLd", names[:40], "linear", {"n_inner": 3}, seed=3)
    test = table.rows(np.isin(table["galaxy"], names[40:]))
    sigma = ex.predict_fold(test, model, 0)["sigma"]
    for scale, error in (("1kpc", 0.1), ("3kpc", 0.3)):
        assert np.median(sigma[test["scale"] == scale]) == pytest.approx(error, rel=0.2)


def test_samples_split_at_random_would_learn_it(monkeypatch):
    """The counterexample: inner splits by sample make sigma blind to the offsets."""
    table = features(160, n_samples=8, seed=1, offset=0.5)
    train = sorted(set(table["galaxy"]))[:80]
    inside = np.isin(table["galaxy"].astype(str), train)
    grouped = ex.out_of_fold

    def by_sample(model, inputs, truth, weight, galaxy, **options):
        return grouped(model, inputs, truth, weight, np.arange(len(truth)), **options)

    monkeypatch.setattr(ex, "out_of_fold", by_sample)
    settings = {"parameters": {"n_estimators": 20, "min_samples_leaf": 1}, "n_inner": 3}
    columns = ex.feature_columns(table)
    model = ex.train_fold(table, columns, "sLd", train, "extra_trees", settings, seed=3)
    test = ex.predict_fold(table.rows(~inside), model, 0)
    assert np.mean(((test["prediction"] - test["truth"]) / test["sigma"]) ** 2) > 3


def test_cross_validation_predicts_each_sample_once_by_others():
    table = features(40, n_samples=2, scales=("1kpc", "3kpc"))
    folds = split_folds(sorted(set(table["galaxy"])))
    result = ex.cross_validate(table, folds, "linear", ["sLd"], seed=2)
    expected = "id galaxy scale fold regressor target weight truth truth_err prediction sigma"
    assert " ".join(result) == expected
    assert sorted(result["id"]) == sorted(table["id"])
    assert [folds[name] for name in result["galaxy"]] == result["fold"].tolist()
    assert np.sqrt(np.mean((result["prediction"] - result["truth"]) ** 2)) < 0.3
    # A sample's own truth has no part in its prediction.
    changed = Table(table, meta=table.meta)
    changed["sLd"] = np.where(table["galaxy"] == "g007", 50.0, table["sLd"])
    other = ex.cross_validate(changed, folds, "linear", ["sLd"], seed=2)
    same = result["fold"] == folds["g007"]
    np.testing.assert_array_equal(other["prediction"][same], result["prediction"][same])
    np.testing.assert_array_equal(other["sigma"][same], result["sigma"][same])


def test_missing_fold_and_target():
    table = features(20)
    folds = split_folds(sorted(set(table["galaxy"])))
    del folds["g003"]
    with pytest.raises(DataError, match="no fold for g003"):
        ex.cross_validate(table, folds, "linear", ["sLd"])
    table["sLd"][4] = np.nan
    with pytest.raises(DataError, match="sLd is not finite for g004"):
        ex.train_fold(table, ["log_w1"], "sLd", ["g003", "g004"], "linear")
    with pytest.raises(DataError, match="no sample of the 1 galaxies"):
        ex.train_fold(table, ["log_w1"], "sLd", ["M31"], "linear")
    with pytest.raises(DataError, match="unknown setting trees"):
        ex.train_fold(table, ["log_w1"], "sLd", ["g003"], "linear", {"trees": 3})


@pytest.mark.parametrize(
    ("regressor", "parameters"),
    [("random_forest", {"n_estimators": 20}), ("xgboost", {}), ("ensemble", QUICK_STACK)],
)
def test_stored_model_predicts_the_same(tmp_path, regressor, parameters):
    table = features(50)
    table["c_WISE_12"][::5] = np.nan
    columns = ex.feature_columns(table)
    train = sorted(set(table["galaxy"]))[:40]
    settings = {"parameters": parameters, "n_inner": 3}
    model = ex.train_fold(table, columns, "sLd", train, regressor, settings, seed=3)
    model.save(tmp_path / "fold0")
    again = ex.FoldModel.load(tmp_path / "fold0")
    shuffled = Table(reversed(list(table.items())))
    for one, other in zip(model.predict(table), again.predict(shuffled)):
        np.testing.assert_array_equal(one, other)
    assert again.feature_names == columns
    assert again.settings == model.settings
    del shuffled["c_WISE_12"]
    with pytest.raises(DataError, match="needs the features c_WISE_12"):
        again.predict(shuffled)
    (tmp_path / "fold0" / "sigma.ubj").unlink()
    with pytest.raises(DataError, match=r"sigma\.ubj"):
        ex.FoldModel.load(tmp_path / "fold0")


def test_infinite_feature_is_refused():
    table = features(10)
    table["log_w1"][3] = np.inf
    with pytest.raises(DataError, match="log_w1 holds infinities"):
        ex.feature_matrix(table, ["log_w1"])


def test_scale_is_an_input_only_where_scales_differ():
    one, two = features(20), features(20, n_samples=4, scales=("1kpc", "3kpc"))
    assert ex.feature_columns(one) == ["c_Spitzer_3.6", "c_WISE_12", "log_w1"]
    assert ex.feature_columns(two)[-1] == "log_scale"
    assert "log_scale" not in ex.select_features(two, {"log_scale": False})[1]
    table, names = ex.select_features(two, {"scales": ["3kpc"]})
    assert set(table["scale"]) == {"3kpc"}
    assert "log_scale" not in names


def test_another_reference_band():
    """log10 F from either set of features is the same."""
    table = features(20)
    table["o_WISE_12"] = table["e_WISE_12"] = np.zeros(20)
    table["o_WISE_3.4"] = table["e_WISE_3.4"] = np.zeros(20)
    new, names = ex.select_features(table, {"reference": "Spitzer_3.6"})
    assert names == ["c_WISE_12", "log_w1", "c_WISE_3.4"]
    np.testing.assert_allclose(new["log_w1"] + new["c_WISE_3.4"], table["log_w1"])
    np.testing.assert_allclose(
        new["log_w1"] + new["c_WISE_12"], table["log_w1"] + table["c_WISE_12"]
    )
    _, names = ex.select_features(table, {"observed": True})
    assert names[-2:] == ["o_WISE_3.4", "e_WISE_3.4"]
    wise = {"drop_bands": ["WISE_3.4", "WISE_12"], "reference": "Spitzer_3.6"}
    new, names = ex.select_features(table, wise)
    assert names == ["log_w1"]
    assert new.meta["reference"] == "Spitzer_3.6"
    assert table.meta["reference"] == "WISE_3.4"


def test_another_temperature():
    table = features(20)
    table["Td"], table["Td_err"] = np.full((2, 20), [[21.0], [2.0]])
    table["Td_geometric"], table["Td_geometric_err"] = table["Td"] - 3, np.ones(20)
    assert (ex.select_features(table, {"temperature": "mean"})[0]["Td"] == table["Td"]).all()
    new, names = ex.select_features(table, {"temperature": "geometric"})
    np.testing.assert_array_equal(new["Td"], table["Td"] - 3)
    assert (new["Td_err"] == 1).all()
    assert names == ex.select_features(table, {})[1]


def test_experiments_that_make_no_sense():
    table = features(20)
    for experiment, message in [
        ({"drop": []}, "unknown key drop"),
        ({"drop_bands": ["WISE_99"]}, "no band WISE_99"),
        ({"drop_bands": ["WISE_3.4"]}, "name another reference band"),
        ({"observed": True}, "were built without"),
        ({"temperature": "geometric"}, "let truth be one"),
    ]:
        with pytest.raises(DataError, match=message):
            ex.select_features(table, experiment)


def pixels(n_galaxies=6, side=4, scales=("1kpc", "global")):
    """Square galaxies with ids that say where a pixel lies, and whole galaxies."""
    draw = np.random.default_rng(3)
    rows = []
    for number in range(n_galaxies):
        for scale in scales:
            if scale == "global":
                rows.append((f"g{number}/global", f"g{number}", scale))
            else:
                rows += [
                    (f"g{number}/{scale}/{x}_{y}", f"g{number}", scale)
                    for x in range(side)
                    for y in range(side - number % 2)
                ]
    n = len(rows)
    ids, galaxy, scale = (np.array(column, object) for column in zip(*rows))
    columns = {"id": ids, "galaxy": galaxy, "scale": scale, "weight": np.ones(n)}
    for name in ("c_Spitzer_3.6", "c_WISE_12", "log_w1", "log_scale", "r_r25", "hubble_stage"):
        columns[name] = draw.normal(size=n)
    return Table(columns | {"sLd": draw.normal(size=n)}, meta={"reference": "WISE_3.4"})


def test_radius_and_stage_are_inputs_where_asked_for():
    table = pixels()
    assert not {"r_r25", "hubble_stage"} & set(ex.select_features(table, {})[1])
    _, names = ex.select_features(table, {"radius": True, "hubble_stage": True})
    assert {"r_r25", "hubble_stage"} <= set(names)
    del table["r_r25"]
    with pytest.raises(DataError, match="the features have no r_r25"):
        ex.select_features(table, {"radius": True})


def test_neighbours_are_the_pixels_that_touch():
    table = pixels()
    selected, names = ex.select_features(table, {"neighbours": True})
    assert "n_c_WISE_12" in names
    assert "n_log_w1" in names
    assert "n_log_scale" not in names
    for row in range(table.n_rows):
        place, _, end = table["id"][row].rpartition("/")
        if end == "global":
            assert np.isnan(selected["n_log_w1"][row])
            continue
        x, y = map(int, end.split("_"))
        near = [
            table["log_w1"][other]
            for other in range(table.n_rows)
            if other != row
            and table["id"][other].startswith(place + "/")
            and "_" in table["id"][other]
            and max(
                abs(x - int(table["id"][other].rpartition("/")[2].split("_")[0])),
                abs(y - int(table["id"][other].rpartition("/")[2].split("_")[1])),
            )
            == 1
        ]
        assert selected["n_log_w1"][row] == pytest.approx(np.mean(near))


def test_shared_galaxies_have_samples_at_all_scales():
    table = pixels(scales=("1kpc", "3kpc", "global"))
    table = table.rows(~((table["galaxy"] == "g2") & (table["scale"] == "3kpc")))
    selected, _ = ex.select_features(table, {"shared": ["1kpc", "3kpc"]})
    assert set(selected["galaxy"]) == {"g0", "g1", "g3", "g4", "g5"}


def test_training_samples_are_those_asked_for():
    table = pixels()
    everyone = [f"g{k}" for k in range(6)]
    assert ex.training_sample(table, everyone).n_rows == table.n_rows
    only = ex.training_sample(table, everyone, {"train_scales": ["global"]})
    assert set(only["scale"]) == {"global"}
    rest = ex.training_sample(table, everyone[:4], {"leave_out": ["g1", "g5"]})
    assert set(rest["galaxy"]) == {"g0", "g2", "g3"}
    half, third = (
        set(ex.training_sample(table, everyone, {"train_share": s}, 5)["galaxy"])
        for s in (0.5, 1 / 3)
    )
    assert len(half) == 3
    assert third < half


def test_rows_are_drawn_by_galaxy_weight_and_seeded():
    # One galaxy with 1000 samples, twenty with 20: its share of the drawn is that of a galaxy.
    galaxy = np.repeat([f"g{k}" for k in range(21)], [1000, *[20] * 20]).astype(object)
    n = len(galaxy)
    table = Table({"galaxy": galaxy, "scale": np.full(n, "1kpc", object), "row": np.arange(n)})
    drawn = ex.training_sample(table, set(galaxy), {"max_rows": 100}, seed=1)
    again = ex.training_sample(table, set(galaxy), {"max_rows": 100}, seed=1)
    np.testing.assert_array_equal(drawn["row"], again["row"])
    assert len(set(drawn["row"])) == 100
    assert np.all(np.diff(drawn["row"]) > 0)
    large = [
        np.sum(ex.training_sample(table, set(galaxy), {"max_rows": 100}, seed=s)["galaxy"] == "g0")
        for s in range(40)
    ]
    assert np.mean(large) == pytest.approx(100 / 21, abs=2)
