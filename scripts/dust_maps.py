"""Draw the page of a galaxy's dust maps."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.dust_maps import dust_maps, read_contours, read_maps
from dustcast.tables import read_csv

if __name__ == "__main__":
    with run(snakemake):
        names = ("sLd", "sMd", "Td", "dust_luminosity", "dust_mass")
        figure = dust_maps(
            read_maps({name: snakemake.input[name] for name in names}),
            *read_contours(snakemake.input.cube),
            read_csv(snakemake.input.totals),
        )
        style.save(figure, png_path=snakemake.output[0])
