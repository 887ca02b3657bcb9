"""Find the stars in front of a galaxy, one aperture a star and band."""

from dustcast.bridge import run
from dustcast.imaging.stars import (
    edit_apertures,
    find_stars,
    read_edits,
    read_gaia,
    write_apertures,
)
from dustcast.sample import galaxy_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, params = snakemake.input, snakemake.params
        galaxy = galaxy_table(inputs.galaxies)[snakemake.wildcards.galaxy]
        apertures = []
        if inputs.get("gaia"):
            apertures = find_stars(
                dict(zip(params.bands, inputs.raw)),
                galaxy,
                read_gaia(inputs.gaia),
                parallax_snr=params.parallax_snr,
                missing_unit=params.missing_unit,
            )
        edits = read_edits(inputs.by_hand, galaxy.galaxy)
        apertures = edit_apertures(apertures, edits, params.bands)
        write_apertures(snakemake.output[0], apertures, origin)
