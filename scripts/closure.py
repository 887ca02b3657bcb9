"""Measure the error of each stage against the known truth."""

from dustcast.bridge import run
from dustcast.mock.closure import closure_table, fit_rows, prediction_rows, stage_rows
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake):
        files, scales = snakemake.input, snakemake.params.scales

        def by_scale(paths):
            paths = iter(paths)
            return {
                scale: stack_tables(read_table(next(paths)) for _ in range(count))
                for scale, count in scales.items()
            }

        truths = dict(zip(scales, map(read_table, files.truth), strict=True))
        photometry = by_scale(files.photometry)
        rows = stage_rows([read_table(path) for path in files.get("stages", [])])
        for stage in ("true", "full", "short"):
            if not files.get(stage):
                continue
            for scale, fit in by_scale(files[stage]).items():
                rows += fit_rows(f"fit_{stage}", scale, fit, truths[scale], photometry[scale])
        predictions = read_table(files.predictions)
        one = predictions.rows(predictions["regressor"] == snakemake.params.regressor)
        rows += prediction_rows(one, truths)
        write_table(snakemake.output[0], closure_table(rows))
