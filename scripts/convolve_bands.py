"""Bring the clean images of a galaxy to the PSFs and grids of all its scales."""

from pathlib import Path

from dustcast.bridge import progress, run
from dustcast.imaging.cube import write_layers
from dustcast.imaging.images import read_clean
from dustcast.imaging.layers import Settings, make_layers, scale_of
from dustcast.sample import galaxy_table

if __name__ == "__main__":
    with run(snakemake):
        galaxy = galaxy_table(snakemake.input.galaxies)[snakemake.wildcards.galaxy]
        scales = [scale_of(row) for row in snakemake.params.rows]
        settings = Settings(**snakemake.params.settings, made=snakemake.input.kernels)
        done = progress(len(snakemake.output), "bands convolved")
        for source, target in zip(snakemake.input.clean, snakemake.output):
            band = Path(source).stem
            clean = read_clean(source)
            layers = {}
            if clean.ok:
                wanted = [scale for scale in scales if band in scale.bands]
                layers = make_layers(clean, wanted, galaxy, settings, snakemake.threads)
            write_layers(target, band, layers, clean.cards.get("DC_WHY", ""))
            done()
