"""Draw what each stage adds to the error, within and between galaxies."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.closure import closure
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        figure = closure(read_table(snakemake.input[0]))
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
