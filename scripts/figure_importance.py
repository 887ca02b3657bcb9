"""Draw which features matter for which property, or how predictions depend on them."""

from dustcast.bridge import run
from dustcast.figures import importance, style
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        draw = getattr(importance, snakemake.params.shows)
        figure = draw(read_table(snakemake.input[0]))
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
