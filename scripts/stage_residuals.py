"""Compare the clean images of a simulated galaxy with what was put into them."""

from dustcast.bridge import progress, run
from dustcast.imaging.layers import Settings
from dustcast.mock.sky import read_sky
from dustcast.mock.stages import stage_residuals
from dustcast.mock.truth import read_maps
from dustcast.sample import galaxy_table
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, params = snakemake.input, snakemake.params
        table = stage_residuals(
            galaxy_table(inputs.galaxies)[snakemake.wildcards.galaxy],
            read_sky(inputs.sky),
            read_table(inputs.stars),
            read_table(inputs.bands),
            dict(zip(params.bands, inputs.clean)),
            read_maps(inputs.maps),
            params.rows,
            Settings(**params.settings, made=inputs.kernels),
            progress=progress(len(params.bands), "bands compared"),
        )
        write_table(snakemake.output[0], table, meta=origin)
