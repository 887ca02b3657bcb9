"""Build the features and targets of a scale."""

from dustcast.bridge import run
from dustcast.learning.dropout import repeat_truth
from dustcast.learning.features import add_context, build_features, official_truth
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        settings = snakemake.params.settings
        official = snakemake.input.get("truth")
        full = snakemake.input.get("full")
        photometry = stack_tables(map(read_table, snakemake.input.photometry))
        ids = photometry["id"]
        features = build_features(
            stack_tables(map(read_table, snakemake.input.short)),
            repeat_truth(stack_tables(map(read_table, full)), ids) if full else None,
            photometry,
            snakemake.params.bands,
            reference=settings["reference"],
            observed=True,
            flux_errors=True,
            w1=settings["w1"],
            truth=repeat_truth(official_truth(official[0]), ids) if official else None,
            max_reduced_chi2=snakemake.params.max_reduced_chi2,
        )
        add_context(features, photometry, read_table(snakemake.input.galaxies))
        features.meta["exclusions"] = features.exclusion_rows(snakemake.wildcards.scale)
        write_table(snakemake.output[0], features, meta=origin)
