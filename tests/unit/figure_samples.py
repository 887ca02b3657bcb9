"""Synthetic predictions for the tests of figures: two modes of temperature, unequal galaxies."""

import numpy as np

from dustcast.tables import Table

METRICS = {
    "rmse": 0.3241,
    "rmse_err": 0.0123,
    "r2": 0.8312,
    "r2_err": 0.021,
    "me": -0.0131,
    "me_err": 0.0102,
    "chi2": 1.043,
    "chi2_err": 0.113,
}
TYPICAL = {"sLd": (-0.7, 0.4, 0.1), "sMd": (-3.0, 0.7, 0.3), "Td": (22.0, 4.0, 2.5)}


def text(values):
    return np.array(list(values), dtype=object)


def predictions(n_galaxies=60, n_pixels=1, target="sMd", scale="global", seed=0):
    rng = np.random.default_rng(seed)
    galaxy = np.repeat(np.arange(n_galaxies), 1 + rng.integers(0, 2 * n_pixels - 1, n_galaxies))
    n = galaxy.size
    middle, spread, error = TYPICAL[target]
    mode = rng.choice([-1.0, 1.0], n_galaxies)[galaxy] if target == "Td" else 0.0
    truth = middle + spread * (mode + 0.4 * rng.normal(size=n_galaxies)[galaxy])
    truth = truth + 0.2 * spread * rng.normal(size=n)
    sigma = error * 10 ** rng.normal(0, 0.15, n)
    return Table(
        {
            "id": text(f"G{g}/{scale}/{i}" for i, g in enumerate(galaxy)),
            "galaxy": text(f"G{g}" for g in galaxy),
            "scale": text([scale] * n),
            "fold": galaxy % 4,
            "regressor": text(["random_forest"] * n),
            "target": text([target] * n),
            "weight": 1.0 / np.bincount(galaxy)[galaxy],
            "truth": truth,
            "truth_err": sigma,
            "prediction": truth + sigma * rng.normal(size=n),
            "sigma": sigma,
        }
    )


def together(tables):
    return Table({name: np.concatenate([each[name] for each in tables]) for name in tables[0]})


def metrics(targets=("sLd", "sMd", "Td"), regressors=("random_forest",), scale="global"):
    rows = [(regressor, target) for regressor in regressors for target in targets]
    n = len(rows)
    return Table(
        {
            "experiment": text(["fiducial"] * n),
            "regressor": text(regressor for regressor, _ in rows),
            "target": text(target for _, target in rows),
            "scale": text([scale] * n),
            "n_galaxies": np.full(n, 60),
            "n_samples": np.full(n, 1260),
            **{name: np.full(n, value) for name, value in METRICS.items()},
        }
    )


def words(figure):
    """Return all text of a figure's panels and legend."""
    from matplotlib.text import Text

    return "\n".join(each.get_text() for each in figure.findobj(Text))
