import numpy as np
import pytest

from dustcast.learning import uncertainty as un
from dustcast.tables import DataError


def test_derivatives_are_those_of_the_likelihood():
    draw = np.random.default_rng(0)
    s, residual = draw.normal(0, 2, 300), draw.normal(0, 2, 300)
    weight = draw.uniform(0.1, 3, 300)
    gradient, hessian = un.gradient_and_hessian(s, residual, weight)
    step = 1e-4
    loss = [un.negative_log_likelihood(s + k * step, residual, weight) for k in (-1, 0, 1)]
    np.testing.assert_allclose(gradient, (loss[2] - loss[0]) / (2 * step), rtol=1e-6, atol=1e-6)
    exact = (loss[2] - 2 * loss[1] + loss[0]) / step**2
    # The expectation of the second derivative, from residuals drawn with the sigma of s.
    drawn = np.exp(s / 2) * draw.normal(size=(4000, 300))
    expected = np.mean(0.5 * weight * drawn**2 * np.exp(-s), axis=0)
    np.testing.assert_allclose(
        hessian, np.maximum(exact, 0.5 * weight), rtol=1e-4, atol=1e-5 * np.abs(loss[1]).max()
    )
    np.testing.assert_allclose(expected, 0.5 * weight, rtol=0.15)
    assert (hessian > 0).all()
    assert (np.abs(gradient) <= hessian).all()


def samples(n, seed, n_galaxies=None):
    draw = np.random.default_rng(seed)
    inputs = draw.uniform(-1, 1, size=(n, 3))
    sigma = np.where(inputs[:, 0] > 0, 0.6, 0.2)
    galaxy = np.array([f"g{k % (n_galaxies or n)}" for k in range(n)])
    return inputs, sigma * draw.normal(size=n), sigma, galaxy


@pytest.mark.parametrize("validation", ["holdout", "cross"])
def test_learns_a_known_sigma(validation):
    inputs, residual, _, galaxy = samples(2000, 1)
    model = un.fit_sigma(
        inputs, residual, np.full(2000, 1e-4), galaxy, {"validation": validation}, seed=4
    )
    inputs, residual, sigma, _ = samples(2000, 2)
    predicted = model.predict(inputs)
    assert np.median(predicted / sigma) == pytest.approx(1, abs=0.06)
    assert np.std(np.log(predicted / sigma)) < 0.2
    assert np.mean((residual / predicted) ** 2) == pytest.approx(1, abs=0.12)


def test_weights_decide_whose_scatter_counts():
    inputs, residual, _, galaxy = samples(600, 3)
    inputs = np.zeros_like(inputs)
    loud = np.abs(residual) > 0.3
    weight = np.where(loud, 10.0, 1.0)
    model = un.fit_sigma(inputs, residual, weight, galaxy, {"validation": "cross"})
    expected = np.sqrt(np.average(residual**2, weights=weight))
    assert model.predict(inputs[:1])[0] == pytest.approx(expected, rel=0.03)


def test_few_galaxies_with_many_samples():
    inputs, residual, sigma, galaxy = samples(900, 5, n_galaxies=9)
    model = un.fit_sigma(inputs, residual, np.ones(900), galaxy, {"validation": "holdout"})
    assert np.median(model.predict(inputs) / sigma) == pytest.approx(1, abs=0.15)


def test_same_seed_same_sigma_and_file(tmp_path):
    inputs, residual, _, galaxy = samples(300, 6)
    inputs[::7, 1] = np.nan
    models = [un.fit_sigma(inputs, residual, np.ones(300), galaxy, seed=9) for _ in range(2)]
    models[0].save(tmp_path / "sigma.ubj")
    models.append(un.SigmaModel.load(tmp_path / "sigma.ubj"))
    for model in models[1:]:
        np.testing.assert_array_equal(model.predict(inputs), models[0].predict(inputs))


@pytest.mark.parametrize("validation", ["holdout", "cross"])
def test_each_pixel_scale_has_its_own_factor(tmp_path, validation):
    """Two scales that no input tells apart: the scatter of each follows from its own residuals."""
    draw = np.random.default_rng(8)
    n = 4000
    scale = np.where(np.arange(n) % 4 == 0, "400pc", "18arcsec")
    sigma = np.where(scale == "400pc", 0.6, 0.3)
    residual = sigma * draw.normal(size=n)
    settings = {"validation": validation, "scale_prior": 10.0}
    columns = (np.zeros((n, 2)), residual, np.ones(n), np.arange(n), settings)
    model = un.fit_sigma(*columns, pixel_scale=scale)
    predicted = model.predict(np.zeros((n, 2)), scale)
    np.testing.assert_allclose(predicted, sigma, rtol=0.08)
    model.save(tmp_path / "sigma.ubj")
    loaded = un.SigmaModel.load(tmp_path / "sigma.ubj")
    np.testing.assert_array_equal(loaded.predict(np.zeros((n, 2)), scale), predicted)
    # A scale that it never saw, or none, has the sigma of all together.
    together = np.sqrt(np.mean(residual**2))
    np.testing.assert_allclose(loaded.predict(np.zeros((1, 2)), ["1kpc"]), together, rtol=0.03)
    np.testing.assert_allclose(loaded.predict(np.zeros((1, 2))), together, rtol=0.03)
    # As many galaxies as the prior: half of the way, in chi2, from that of all to its own.
    halfway = un.fit_sigma(*columns[:4], settings | {"scale_prior": 1000.0}, pixel_scale=scale)
    if validation == "cross":
        own = np.mean(residual[scale == "400pc"] ** 2)
        expected = np.sqrt((own + together**2) / 2)
        value = halfway.predict(np.zeros((1, 2)), ["400pc"])
        np.testing.assert_allclose(value, expected, rtol=0.03)


def test_residuals_of_zero():
    model = un.fit_sigma(np.zeros((40, 2)), np.zeros(40), np.ones(40), np.arange(40))
    assert np.isfinite(model.predict(np.zeros((3, 2)))).all()


def test_refusals(tmp_path):
    inputs, residual, _, galaxy = samples(30, 7)
    with pytest.raises(DataError, match="unknown setting depth"):
        un.fit_sigma(inputs, residual, np.ones(30), galaxy, {"depth": 3})
    with pytest.raises(DataError, match="validation is 'none'"):
        un.fit_sigma(inputs, residual, np.ones(30), galaxy, {"validation": "none"})
    with pytest.raises(DataError, match="does not exist"):
        un.SigmaModel.load(tmp_path / "sigma.ubj")
    (tmp_path / "sigma.ubj").write_bytes(b"cut short")
    with pytest.raises(DataError, match="no uncertainty model"):
        un.SigmaModel.load(tmp_path / "sigma.ubj")
