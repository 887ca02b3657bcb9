"""Draw prediction errors against the predicted uncertainty (the paper's Fig. 4)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.calibration import calibration
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        figure = calibration(
            read_table(snakemake.input.predictions),
            read_table(snakemake.input.metrics),
            regressor=snakemake.wildcards.regressor,
            scale=snakemake.wildcards.scale,
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
