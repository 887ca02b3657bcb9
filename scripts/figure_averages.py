"""Draw predicted against true averages of galaxies (the paper's Fig. 3)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.paper import averages
from dustcast.figures.predicted_vs_true import select
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        wanted = {"regressor": snakemake.params.regressor, "scale": snakemake.params.scale}
        figure = averages(
            select(read_table(snakemake.input.averages), **wanted),
            select(read_table(snakemake.input.metrics), selection="averages", **wanted),
            highlight=snakemake.params.highlight,
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
