"""Simulate the raw images of a galaxy, its stars and reddening, and keep what was put in."""

from dustcast.bridge import progress, run
from dustcast.imaging.layers import Settings
from dustcast.mock.observation import observe_galaxy
from dustcast.mock.sky import make_sky, write_sky
from dustcast.mock.spectra import Spectra
from dustcast.population import dust_smoothing_kpc
from dustcast.sample import galaxy_table
from dustcast.sed.grid import load_grid
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
        galaxy = galaxy_table(inputs.galaxies)[snakemake.wildcards.galaxy]
        mock = params.mock
        sky = make_sky(
            galaxy,
            Spectra(load_grid(inputs.models)),
            seed=mock["seed"],
            dust_smoothing_kpc=dust_smoothing_kpc(mock, galaxy.galaxy),
        )
        write_sky(outputs.sky, sky)
        stars, bands = observe_galaxy(
            galaxy,
            sky,
            params.rows,
            dict(zip(params.bands, outputs.images)),
            outputs.gaia,
            outputs.reddening,
            Settings(**params.settings),
            seed=mock["seed"],
            least_pixel_arcsec=mock["least_pixel_arcsec"],
            progress=progress(len(params.bands), "bands observed"),
        )
        write_table(outputs.stars, stars, meta=origin)
        write_table(outputs.bands, bands, meta=origin)
