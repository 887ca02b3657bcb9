"""A user's synthetic observations: from their tables to metrics on the terminal."""

import csv
import gzip

import checkout
import numpy as np
import pytest
import yaml

from dustcast.tables import read_csv, read_table

CONFIG = "synthetic.yaml"
N_OBJECTS = 10


@pytest.fixture(scope="module")
def catalogue(tiny, tmp_path_factory, data):
    """A copy of the repository with fluxes and dust of real galaxies, taken as synthetic ones."""
    folder = checkout.copy_compiled(tmp_path_factory.mktemp("synthetic") / "run", tiny)
    source = data / "cigale" / "full" / "dustpedia_fluxes_full.mag"
    if source.is_file():
        text = source.read_text(encoding="utf-8")
    else:
        text = gzip.decompress(source.with_name(f"{source.name}.gz").read_bytes()).decode()
    header, *rows = text.splitlines()
    rows = rows[:N_OBJECTS]
    (folder / "fluxes.txt").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    names = [row.split()[0] for row in rows]
    truth = [
        {
            "id": name,
            "area_arcsec2": 20000,
            "distance": 20.0,
            "sLd": -0.5,
            "sMd": -3 + 0.1 * k,
            "Td": 20,
        }
        for k, name in enumerate(names)
    ]
    truth[0]["Td"] = ""
    with (folder / "truth.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, truth[0])
        writer.writeheader()
        writer.writerows(truth)
    config = {
        "run": "synthetic",
        "scales": ["global"],
        "survey": {"source": "local"},
        "sed": {"grid": "demo"},
        "synthetic": {"table": "fluxes.txt", "truth": "truth.csv"},
    }
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    return folder


def test_metrics_are_those_of_the_predictions(catalogue):
    done = checkout.snakemake(catalogue, "synthetic", "--cores", "1", config=CONFIG)
    made = catalogue / "results/synthetic/synthetic"
    predictions = read_table(made / "predictions.parquet")
    truth = {row["id"]: row for row in read_csv(catalogue / "truth.csv")}
    assert set(predictions["id"]) <= set(truth)
    assert predictions.n_rows >= N_OBJECTS - 1
    metrics = {row["target"]: row for row in read_csv(made / "metrics.csv")}
    assert list(metrics) == ["sLd", "sMd", "Td"]
    for target, row in metrics.items():
        known = [(k, truth[name][target]) for k, name in enumerate(predictions["id"])]
        known = [(k, float(value)) for k, value in known if value]
        place, value = map(np.array, zip(*known))
        error = predictions[target][place.astype(int)] - value
        assert int(row["n_samples"]) == len(known)
        assert float(row["rmse"]) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
        sigma = predictions[f"{target}_sigma"][place.astype(int)]
        assert float(row["chi2"]) == pytest.approx(np.mean((error / sigma) ** 2), rel=1e-6)
        # The terminal shows them.
        assert f"{float(row['rmse']):.3f} +- {float(row['rmse_err']):.3f}" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": None}, "synthetic.truth: no table is no file"),
        ({"table": "none.txt"}, "synthetic.table: none.txt is no file"),
    ],
)
def test_mistakes_are_told_by_a_dry_run(catalogue, change, message):
    config = yaml.safe_load((catalogue / CONFIG).read_text())
    config["synthetic"] |= change
    (catalogue / "wrong.yaml").write_text(yaml.safe_dump(config))
    done = checkout.snakemake(catalogue, "synthetic", "-n", config="wrong.yaml", check=False)
    assert done.returncode != 0
    assert message in done.stdout


def test_objects_without_area_are_told(catalogue):
    config = yaml.safe_load((catalogue / CONFIG).read_text())
    config |= {"run": "wrong", "synthetic": config["synthetic"] | {"truth": "wrong.csv"}}
    (catalogue / "wrong.yaml").write_text(yaml.safe_dump(config))
    rows = read_csv(catalogue / "truth.csv")
    lines = ["id,sLd", *(f"{row['id']},{row['sLd']}" for row in rows), ""]
    (catalogue / "wrong.csv").write_text("\n".join(lines))
    done = checkout.snakemake(
        catalogue, "synthetic", "--cores", "1", config="wrong.yaml", check=False
    )
    assert done.returncode != 0
    assert f"{rows[0]['id']}: area_arcsec2 is missing" in done.stdout
