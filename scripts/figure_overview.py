"""Draw maps of truth, prediction and residual of a galaxy (the paper's Figs. 5 and 6)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.paper import overview
from dustcast.figures.predicted_vs_true import select
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        galaxy = snakemake.params.galaxy
        wanted = {"regressor": snakemake.params.regressor, "scale": snakemake.params.scale}
        figure = overview(
            select(read_table(snakemake.input.predictions), **wanted),
            select(read_table(snakemake.input.metrics), selection=galaxy, **wanted),
            galaxy=galaxy,
            reason="" if galaxy else "figures.highlight names no galaxy for this page",
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
