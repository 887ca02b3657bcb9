"""Regressors of an experiment against its first, on the same samples: ``make bench-regressors``.

Reads tables of predictions (``results/{run}/predictions/{experiment}.parquet``) and prints for each
target and scale the RMSE of both, their difference, and how many times its error that is (bootstrap
over galaxies, paired).
"""

import sys
from pathlib import Path

import numpy as np

from dustcast.learning.metrics import paired_difference
from dustcast.tables import read_table


def main(path):
    """Print the comparison of one table of predictions."""
    table = read_table(path)
    regressors = list(dict.fromkeys(table["regressor"]))
    print(f"{path}: RMSE against that of {regressors[0]}")
    for target in dict.fromkeys(table["target"]):
        for scale in dict.fromkeys(table["scale"]):
            here = (table["target"] == target) & (table["scale"] == scale)
            first, *others = (
                table.rows(here & (table["regressor"] == name)) for name in regressors
            )
            for name, other in zip(regressors[1:], others, strict=True):
                found = paired_difference(other, first)
                print(
                    f"  {target:4s} {scale:10s} {name:12s} {found['rmse_first']:.4f} "
                    f"{found['rmse_second']:.4f} {found['rmse']:+.4f} "
                    f"{found['rmse'] / found['rmse_err']:+.1f} sigma "
                    f"({found['n_galaxies']:.0f} galaxies, {found['n_samples']:.0f} samples)"
                )


if __name__ == "__main__":
    np.seterr(all="raise")
    for argument in sys.argv[1:]:
        main(Path(argument))
