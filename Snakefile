# dustcast: dust maps of galaxies from ultraviolet to mid-infrared images.
#
#   snakemake --configfile config/demo.yaml --cores 2      (or: make demo)
#
# Data flow from top to bottom of the includes: who is observed, images and their photometry (or
# simulated ones), model fits, learning, maps, figures, and what the paper shows. README.md says
# what a run makes, config/README.md what can be configured.
import math
import re
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

# A configuration given on the command line replaces this one; Snakemake would merge them.
if not config:

    configfile: "config/demo.yaml"


include: "rules/common.smk"
include: "rules/sample.smk"


report: "resources/captions/workflow.rst"


if MISSING_CATALOGUES:

    # Nothing else can be planned: the jobs follow from the catalogues. A figure that someone asks
    # for must not be made of no galaxies.
    rule all:
        default_target: True
        input:
            rules.catalogues.input,
        message:
            "catalogues"

else:

    include: "rules/images.smk"
    include: "rules/mock.smk"
    include: "rules/sed.smk"
    include: "rules/learning.smk"
    include: "rules/maps.smk"
    include: "rules/figures.smk"
    include: "rules/paper.smk"

    rule all:
        default_target: True
        input:
            rules.tables.input,
            rules.figures.input,
            rules.quicklooks.input,
        message:
            f"All results are in {RESULTS}"
