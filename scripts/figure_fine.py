"""Draw maps of predictions above the truth of several galaxies (the paper's Figs. 9, A.3, A.4)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.paper import fine_maps, largest, scale_title
from dustcast.figures.predicted_vs_true import select
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        params = snakemake.params
        fine = select(read_table(snakemake.input.fine), scale=params.fine["scale"])
        coarse = select(read_table(snakemake.input.coarse), scale=params.scale)
        coarse = select(coarse, regressor=params.regressor, target=params.target)
        regressor = fine["regressor"][0] if fine.n_rows else None
        figure = fine_maps(
            select(fine, regressor=regressor),
            coarse,
            target=params.target,
            galaxies=params.galaxies or largest(coarse),
            titles=(
                f"prediction, {scale_title(params.fine['scale'])}",
                f"truth, {scale_title(params.scale)}",
            ),
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
