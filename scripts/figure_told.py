"""Draw predictions against those for another pixel scale (the paper's Fig. 8)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.paper import told
from dustcast.tables import Table, read_table

if __name__ == "__main__":
    with run(snakemake):
        scale, instead = snakemake.params.told["scale"], snakemake.params.told["instead"]
        there = bool(snakemake.input.predictions)
        figure = told(
            read_table(snakemake.input.predictions) if there else Table(),
            read_table(snakemake.input.metrics) if there else Table(),
            scale=scale,
            told_scale=instead,
            reason=f"this run has no pixels of {scale}",
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
