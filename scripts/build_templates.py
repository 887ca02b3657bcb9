"""Build the compact stellar, nebular and dust tables of resources/templates from their source."""

from dustcast.bridge import run
from dustcast.sed import dust, templates

if __name__ == "__main__":
    with run(snakemake):
        wheel = snakemake.input.wheel
        templates.build(wheel, ssp=snakemake.output.ssp, nebular=snakemake.output.nebular)
        dust.build_dl07(wheel, snakemake.output.dl07)
