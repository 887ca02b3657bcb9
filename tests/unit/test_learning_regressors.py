import json
import zipfile

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from dustcast.learning import regressors as rg
from dustcast.tables import DataError

# Small enough for a test; every other setting is the default.
QUICK = {
    "random_forest": {"n_estimators": 20},
    "extra_trees": {"n_estimators": 20},
    "hist_gradient_boosting": {"max_iter": 40},
    "xgboost": {"n_estimators": 60},
    "mlp": {"n_networks": 2, "max_iter": 30},
    "ensemble": {
        "base": ["gaussian_process", "xgboost", "random_forest", "linear"],
        "xgboost": {"n_estimators": 30},
        "random_forest": {"n_estimators": 10},
        "gaussian_process": {"max_rows": 120},
        "n_inner": 3,
    },
}
ALL = sorted(rg.DEFAULTS)


def samples(n=240, seed=0, missing=0.1):
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(n, 4))
    target = 20 + 3 * inputs[:, 0] - 2 * np.abs(inputs[:, 1]) + 0.5 * draw.normal(size=n)
    inputs[draw.random(inputs.shape) < missing] = np.nan
    galaxy = np.array([f"g{k % 60}" for k in range(n)])
    return inputs, target, draw.uniform(0.5, 2, size=n), galaxy


def fitted(name, data, seed=1):
    return rg.fit_regressor(rg.make_regressor(name, QUICK.get(name), seed), *data)


@pytest.mark.parametrize("name", ALL)
def test_learns_with_missing_features_and_predicts_the_same_again(name, tmp_path):
    data = samples()
    inputs, target, _, _ = samples(seed=5)
    model = fitted(name, data)
    predicted = model.predict(inputs)
    assert np.mean((predicted - target) ** 2) < 0.6 * np.var(target)
    np.testing.assert_array_equal(fitted(name, data).predict(inputs), predicted)

    rg.save_model(model, tmp_path, {"feature_names": list("abcd"), "seed": 1})
    again, settings = rg.load_model(tmp_path)
    np.testing.assert_array_equal(again.predict(inputs), predicted)
    assert settings["feature_names"] == list("abcd")
    assert set(settings["versions"]) == {"python", "numpy", "scikit-learn", "xgboost"}
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names <= {"settings.json", "model.skops", "model.ubj"}
    for path in tmp_path.rglob("*.skops"):
        assert not any(".pkl" in n or "pickle" in n for n in zipfile.ZipFile(path).namelist())


@pytest.mark.parametrize("name", ALL)
def test_a_weight_of_zero_hides_a_sample(name):
    """Samples that contradict the rest do not matter if their weight vanishes."""
    inputs, target, _, galaxy = samples(missing=0)
    spoilt = np.arange(len(target)) % 60 < 20
    target = np.where(spoilt, -target, target)
    weight = np.where(spoilt, 1e-9, 1.0)
    model = fitted(name, (inputs, target, weight, galaxy))
    test_inputs, truth, _, _ = samples(seed=5, missing=0)
    assert np.mean((model.predict(test_inputs) - truth) ** 2) < 0.6 * np.var(truth)


@pytest.mark.parametrize("name", ALL)
def test_scale_of_the_weights_does_not_matter(name):
    inputs, target, weight, galaxy = samples()
    one = fitted(name, (inputs, target, weight, galaxy)).predict(inputs)
    other = fitted(name, (inputs, target, weight * 2.0**-20, galaxy)).predict(inputs)
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("name", ["svr", "gaussian_process"])
def test_many_samples_are_thinned(name):
    data = samples(n=400)
    model = rg.make_regressor(name, {"max_rows": 150}, 3)
    predicted = rg.fit_regressor(model, *data).predict(data[0])
    assert np.mean((predicted - data[1]) ** 2) < 0.5 * np.var(data[1])


def test_weight_two_is_two_samples():
    """The posterior mean of a Gaussian process, and its likelihood's best parameters."""
    draw = np.random.default_rng(4)
    inputs = draw.normal(size=(40, 2))
    target = np.sin(2 * inputs[:, 0]) + 0.3 * draw.normal(size=40)
    kernel = ConstantKernel(2.0) * Matern(1.5, nu=1.5)
    noise = rg.NoiseByWeight(0.2, weight=np.repeat([2.0, 1.0], 20))
    weighted = GaussianProcessRegressor(kernel + noise, optimizer=None).fit(inputs, target)
    again = np.concatenate([np.arange(40), np.arange(20)])
    twice = GaussianProcessRegressor(kernel + WhiteKernel(0.2), optimizer=None)
    twice.fit(inputs[again], target[again])
    np.testing.assert_allclose(weighted.predict(inputs), twice.predict(inputs), rtol=1e-8)
    # The gradient that the search for parameters follows, against differences.
    theta = weighted.kernel_.theta
    _, gradient = weighted.log_marginal_likelihood(theta, eval_gradient=True)
    for k, step in enumerate(1e-5 * np.eye(len(theta))):
        ahead, behind = (weighted.log_marginal_likelihood(theta + s) for s in (step, -step))
        assert gradient[k] == pytest.approx((ahead - behind) / 2e-5, rel=1e-4)


def test_relevance_finds_the_features_that_matter():
    draw = np.random.default_rng(5)
    inputs = draw.normal(size=(400, 30))
    target = np.sin(2 * inputs[:, 0]) + inputs[:, 1] ** 2 + 0.1 * draw.normal(size=400)
    errors = []
    for relevance in (0.0, 0.5):
        model = rg.make_regressor("svr", {"relevance": relevance, "gamma": 0.03}, 1)
        rg.fit_regressor(model, inputs[:200], target[:200], np.ones(200), np.arange(200))
        errors.append(np.std(model.predict(inputs[200:]) - target[200:]))
    assert errors[1] < 0.8 * errors[0]


def test_ensemble_weights():
    inputs, target, weight, galaxy = samples(missing=0)
    model = fitted("ensemble", (inputs, target, weight, galaxy))
    assert model.weights_.sum() == pytest.approx(1)
    assert (model.weights_ >= 0).all()
    # The target is not linear: the stack must prefer who can learn it.
    share = dict(zip(QUICK["ensemble"]["base"], model.weights_))
    assert share["linear"] < max(share.values()) / 2


def test_combination_is_the_best_convex_one():
    """Against a search over the simplex, without shrinkage."""
    draw = np.random.default_rng(2)
    truth, weight = draw.normal(size=200), draw.uniform(0.5, 2, size=200)
    unseen = truth[:, None] + draw.normal(0.1, [0.3, 0.5, 0.4], size=(200, 3))
    share = rg.StackedEnsemble([], shrinkage=0.0)._combine(unseen, truth, weight)
    grid = np.linspace(0, 1, 201)
    a, b = (axis.ravel() for axis in np.meshgrid(grid, grid))
    trial = np.stack([a, b, 1 - a - b])[:, a + b <= 1 + 1e-12]
    loss = np.average((unseen @ trial - truth[:, None]) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(share, trial[:, np.argmin(loss)], atol=0.01)
    equal = rg.StackedEnsemble([], shrinkage=1e6)._combine(unseen, truth, weight)
    np.testing.assert_allclose(equal, 1 / 3, atol=1e-4)


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="choose from random_forest"):
        rg.make_regressor("forest")
    for name in ALL:
        with pytest.raises(DataError, match="tree_count"):
            rg.make_regressor(name, {"tree_count": 3})
    with pytest.raises(DataError, match="base is"):
        rg.make_regressor("ensemble", {"base": ["svr", "ensemble"]})
    with pytest.raises(DataError, match="no regressor is called 'tree'"):
        rg.make_regressor("ensemble", {"base": ["tree"]})


def test_incomplete_models_are_refused(tmp_path):
    with pytest.raises(DataError, match="no complete model"):
        rg.load_model(tmp_path)
    rg.save_model(fitted("linear", samples()), tmp_path, {})
    stored = (tmp_path / "model.skops").read_bytes()
    (tmp_path / "model.skops").write_bytes(stored[: len(stored) // 2])
    with pytest.raises(DataError, match="no complete model"):
        rg.load_model(tmp_path)
    (tmp_path / "model.skops").unlink()
    with pytest.raises(DataError, match=r"model\.skops"):
        rg.load_model(tmp_path)


class Stranger:
    def __init__(self):
        self.value = 1


def test_foreign_types_are_not_read(tmp_path):
    import skops.io

    rg.save_model(fitted("linear", samples()), tmp_path, {})
    skops.io.dump({"model": Stranger()}, tmp_path / "model.skops")
    with pytest.raises(DataError, match="Stranger"):
        rg.load_model(tmp_path)


def test_only_types_that_models_need_are_trusted():
    import skops.io

    needed = set()
    for name in ALL:
        if name not in ("xgboost", "ensemble"):
            stored = skops.io.dumps(fitted(name, samples()))
            needed |= set(skops.io.get_untrusted_types(data=stored))
    assert needed == set(rg.TRUSTED_TYPES)


def test_settings_hold_no_path_or_time(tmp_path):
    rg.save_model(fitted("linear", samples()), tmp_path / "one", {"seed": 1})
    rg.save_model(fitted("linear", samples()), tmp_path / "two", {"seed": 1})
    one, two = ((tmp_path / name / "settings.json").read_bytes() for name in ("one", "two"))
    assert one == two
    assert str(tmp_path).encode() not in one
    assert json.loads(one)["seed"] == 1
