"""Write the page with the metrics of all experiments."""

from dustcast.bridge import run
from dustcast.figures.tables import metrics_page
from dustcast.tables import read_table, stack_tables, write_text

if __name__ == "__main__":
    with run(snakemake):
        metrics = stack_tables([read_table(path) for path in snakemake.input.metrics])
        seeds = stack_tables([read_table(path) for path in snakemake.input.seeds])
        page = metrics_page(metrics, seeds, descriptions=snakemake.params.descriptions)
        write_text(snakemake.output[0], page)
