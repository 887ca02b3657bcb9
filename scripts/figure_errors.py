"""Draw prediction errors of one target against the predicted uncertainty (the paper's Fig. 4)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.calibration import calibration
from dustcast.figures.predicted_vs_true import select
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        figure = calibration(
            read_table(snakemake.input.predictions),
            select(read_table(snakemake.input.metrics), selection="all"),
            regressor=snakemake.params.regressor,
            scale=snakemake.params.scale,
            targets=(snakemake.params.target,),
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
