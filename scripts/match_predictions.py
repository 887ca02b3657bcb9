"""Match the predictions of a galaxy's pixels to its far-infrared at a coarser scale."""

import json
from pathlib import Path

from dustcast.bridge import run
from dustcast.maps.products import read_sky, same_rows
from dustcast.maps.super_resolution import match_maps
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        predictions = read_table(snakemake.input.predictions)
        matched = match_maps(
            read_sky(snakemake.input.cube),
            predictions,
            same_rows(read_table(snakemake.input.photometry), predictions),
            same_rows(read_table(snakemake.input.short), predictions),
            json.loads((Path(snakemake.input.model) / "settings.json").read_text())["stars"],
            read_sky(snakemake.input.coarse_cube),
            read_table(snakemake.input.coarse_full),
            snakemake.params.method,
        )
        write_table(snakemake.output[0], matched, meta=origin)
