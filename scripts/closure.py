"""Measure the error of each stage against the known truth."""

from dustcast.bridge import run
from dustcast.mock.closure import closure_table, fit_rows, prediction_rows
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake):
        files, scales = snakemake.input, snakemake.params.scales
        truths = dict(zip(scales, map(read_table, files.truth), strict=True))
        rows = []
        for stage in ("full", "short"):
            for scale, fit, photometry in zip(scales, files[stage], files.photometry, strict=True):
                rows += fit_rows(
                    f"fit_{stage}", scale, read_table(fit), truths[scale], read_table(photometry)
                )
        predictions = read_table(files.predictions)
        one = predictions.rows(predictions["regressor"] == snakemake.params.regressor)
        rows += prediction_rows(one, truths)
        write_table(snakemake.output[0], closure_table(rows))
