"""Write the predictions of a galaxy's pixels onto the sky, and their sums."""

import json
from pathlib import Path

from dustcast.bridge import run
from dustcast.maps.products import (
    header_cards,
    map_products,
    read_sky,
    totals_rows,
    write_map,
    write_totals,
)
from dustcast.sample import galaxy_table
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        galaxy, scale = snakemake.wildcards.galaxy, snakemake.wildcards.scale
        sky = read_sky(snakemake.input.cube)
        tables = [
            read_table(snakemake.input[name]) for name in ("predictions", "photometry", "short")
        ]
        model = json.loads((Path(snakemake.input.model) / "settings.json").read_text())
        matched = snakemake.input.get("matched")
        matched = read_table(matched) if matched else None
        known = galaxy_table(snakemake.input.galaxies)[galaxy]
        products = map_products(
            sky,
            *tables,
            model["stars"],
            model["bands"],
            deproject=known.axis_ratio if snakemake.params.deproject else 1.0,
            matched=matched,
        )
        cards = header_cards(
            sky, tables[0], known.distance, galaxy, scale, origin["provenance"], matched
        )
        for name, (planes, unit) in products.items():
            write_map(snakemake.output[name], sky, planes, unit, name, cards)
        write_totals(
            snakemake.output.totals,
            totals_rows(sky, *tables, model, galaxy, scale, snakemake.params.distance_err),
        )
