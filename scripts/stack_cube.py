"""Stack the convolved images of a galaxy at one scale."""

from dustcast.bridge import run
from dustcast.imaging.cube import read_layer, stack, write_cube
from dustcast.imaging.layers import Settings, scale_of
from dustcast.sample import galaxy_table

if __name__ == "__main__":
    with run(snakemake):
        galaxy = galaxy_table(snakemake.input.galaxies)[snakemake.wildcards.galaxy]
        scale = scale_of(snakemake.params.row)
        settings = Settings(**snakemake.params.settings)
        layers = [read_layer(path, scale.name) for path in snakemake.input.convolved]
        write_cube(snakemake.output[0], stack(galaxy, scale, layers, settings), settings)
