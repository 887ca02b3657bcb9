"""Compute the model grid of a run."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.sed.grid import build_grid, read_spec, save_grid

if __name__ == "__main__":
    with run(snakemake):
        spec = read_spec(snakemake.params.spec, where=str(snakemake.input.spec))
        themis = list(snakemake.input.get("themis", []))
        grid = build_grid(
            spec,
            snakemake.params.bands,
            filters_folder=snakemake.params.filters,
            themis_folder=Path(themis[0]).parent if themis else None,
        )
        print(f"{grid.n_models} models in {len(grid.bands)} bands")
        save_grid(snakemake.output[0], grid)
