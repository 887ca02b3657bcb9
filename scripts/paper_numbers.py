"""Compute the numbers that the paper states, beside the paper's own."""

from dustcast.bridge import run
from dustcast.learning.numbers import Run, paper_table, profiles
from dustcast.tables import Table, read_csv, read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, params = snakemake.input, snakemake.params
        stacked = {
            name: stack_tables(map(read_table, inputs.get(name, [])))
            for name in ("photometry", "short", "full", "features")
        }
        predictions = read_table(inputs.predictions)
        selections = {}
        for (name, regressor), path in zip(params.regressors.items(), inputs.selections):
            table = read_table(path)
            selections[name] = table.rows(table["regressor"] == regressor)
        mine = predictions["regressor"] == params.regressors[params.experiment]
        numbers = Run(
            predictions.rows(mine),
            selections,
            experiment=params.experiment,
            scale=params.scale,
            galaxies=read_table(inputs.galaxies),
            told=read_table(inputs.told[0]) if inputs.get("told") else Table(),
            names=params.names,
            n_bootstrap=params.n_bootstrap,
            seed=params.seed,
            **stacked,
        )
        table = paper_table(numbers, read_csv(inputs.numbers))
        write_table(snakemake.output.numbers, table, meta=origin)
        rings = profiles(numbers, [name for name in params.names.values() if name])
        write_table(snakemake.output.profiles, rings, meta=origin)
