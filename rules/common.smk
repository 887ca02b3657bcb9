# What the rules share: the checked configuration, the plan and the names of files.
sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from dustcast import config as configuration
from dustcast import checks, experiments, population, sample
from dustcast.bands import band_table, bands_of, kernel_names
from dustcast.provenance import code_hash, config_hash
from dustcast.tables import DataError, read_csv

from snakemake.exceptions import WorkflowError

# A mistake in the configuration ends the run with one sentence, before any job.
try:
    config.update(configuration.complete(config))
    DOWNLOADS = {row["file"]: row for row in read_csv("config/downloads.csv")}
    PRODUCTS = sample.read_products("config/products.csv")
    EXPERIMENTS = experiments.read_experiments(config)
    MISSING_CATALOGUES = sample.missing_catalogues(config)
    GALAXIES = [] if MISSING_CATALOGUES else sample.read_galaxies(config)
    PLAN = sample.plan(config, GALAXIES)
    BANDS = configuration.run_bands(config)
    for path in workflow.configfiles:
        configuration.check_twice(path)
    if config["survey"]["source"] == "local":
        checks.check_maps(config, GALAXIES, PLAN)
    checks.check_synthetic(config)
except DataError as fault:
    raise WorkflowError(f"dustcast: {fault}") from None

if MISSING_CATALOGUES:
    print(
        f"dustcast: {', '.join(MISSING_CATALOGUES)} is neither in {config['data_dir']} nor in the "
        "mirror, so only the targets `catalogues` and `download` exist: run `snakemake catalogues` "
        "with the same configuration first",
        file=sys.stderr,
    )


# Under a limit of jobs a timespan Snakemake looks for jobs again a timespan after each look, for
# ever, and each job that ends begins another such round: after 150 jobs the driver took a third of
# a core for it. Where nobody asked for another limit than the default of 100 a second there is none.
onstart:
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


DATA = config["data_dir"]
RESULTS = f"results/{config['run']}"
FITS = list(config["sed"]["fits"])
TARGETS = ["sLd", "sMd", "Td"]
FOLDS = list(range(config["learning"]["n_folds"]))
SCALES = config["scales"]
REAL = config["survey"]["source"] == "dustpedia"
MOCK = config["survey"]["source"] == "mock"
# A mock survey without images has one table a scale, of all galaxies.
TABLES = MOCK and config["mock"]["level"] == "table"
# What is observed and fitted in one piece: `global`, all galaxies in one table, or the pixels of a
# galaxy at a scale that the plan includes, `{galaxy}/{scale}`; of a mock survey without images
# a scale.
PIXELS = {
    f"{row['galaxy']}/{row['scale']}": row
    for row in PLAN
    if row["included"] and row["scale"] != sample.GLOBAL and not TABLES
}
SAMPLES = [name for name in SCALES if TABLES or name == sample.GLOBAL] + [*PIXELS]
KNOWN = {row["scale"] for row in PLAN if row["included"] and sample.knows_dust(row)}
# Scales that models learn from and are tested at; at finer ones there are predictions only.
LEARNED = [scale for scale in SCALES if scale in KNOWN] or SCALES


def log_of(name):
    """Return the path of a rule's log; `name` is the rule, then what sets its jobs apart."""
    return f"{RESULTS}/logs/{name}.log"


def benchmark_of(name):
    """Return the path of a rule's benchmark."""
    return f"{RESULTS}/benchmarks/{name}.tsv"


def growing(amount):
    """Return a resource of which each new attempt at a job requests more."""
    return lambda wildcards, attempt: amount * attempt


def downloaded(*groups):
    """Return the paths of the downloaded files of some groups of config/downloads.csv."""
    return [
        f"{DATA}/{name}" for name, row in DOWNLOADS.items() if row["group"] in groups
    ]


# The grid's file is named by its content: runs with the same models and bands share it.
GRID_SPEC = configuration.read_yaml(
    configuration.CONFIG_FOLDER / "grids" / f"{config['sed']['grid']}.yaml"
)
FILTERS_FOLDER = (
    f"{DATA}/{config['sed']['filters']}" if config["sed"]["filters"] else None
)
GRID = "grids/{}-{}.npz".format(
    config["sed"]["grid"],
    config_hash(
        {"spec": GRID_SPEC, "bands": BANDS, "filters": config["sed"]["filters"]}
    ),
)
FOLD_SETTINGS = {
    "n_folds": config["learning"]["n_folds"],
    "seed": config["learning"]["seed"],
    "share_folds": config["sample"]["share_folds"],
    "balance_folds": config["sample"]["balance_folds"],
}
PCIGALE_OPTIONS = ("additional_error", "upper_limits")
FIT_OPTIONS = ("method", "tolerance", *PCIGALE_OPTIONS)

# Experiments that change the features have tables of their own.
FEATURE_VARIANTS = {
    settings["features"]: {key: settings[key] for key in experiments.FEATURE_KEYS}
    for settings in [experiments.feature_defaults(config), *EXPERIMENTS.values()]
}
FEATURE_FILES = [
    f"{RESULTS}/features/{variant}{scale}.parquet"
    for variant, settings in FEATURE_VARIANTS.items()
    for scale in SCALES
    if scale == sample.GLOBAL or not settings["dropout"]
]

# What the simulated galaxies follow from, and the models that they are made of: the run's grid on
# nodes of its own.
MOCK_SURVEY = config["mock"] | {"moments": config_hash(population.read_moments())}
MOCK_NODES = configuration.read_yaml(population.MODEL_NODES)
MOCK_SPEC = {
    name: {**values, **MOCK_NODES.get(name, {})} for name, values in GRID_SPEC.items()
}
MOCK_MODELS = "grids/mock-{}.npz".format(
    config_hash(
        {"spec": MOCK_SPEC, "bands": BANDS, "filters": config["sed"]["filters"]}
    )
)

# Fits that see the far-infrared, which the official results speak of.
PARITY_FITS = [
    fit
    for fit, settings in config["sed"]["fits"].items()
    if REAL and sample.GLOBAL in SCALES and "target" in settings["roles"]
]


# Images: their bands, where raw ones come from, what their cleaning needs.
KNOWN = {galaxy.galaxy: galaxy for galaxy in GALAXIES}
IMAGE_BANDS = configuration.image_bands(BANDS)
# Stars and reddening of real galaxies are shared by all runs; simulated ones are a run's own.
FIELDS = f"{RESULTS}/mock" if MOCK else DATA
# DustPedia's maps are in Jy a pixel, though the header of some does not say so.
MISSING_UNIT = config["survey"]["missing_unit"] or ("Jy/pix" if REAL else None)


# What became of the images of each galaxy of which pixels are fitted.
CLEAN_TABLES = [
    f"{RESULTS}/images/{galaxy}/clean.parquet"
    for galaxy in dict.fromkeys(row["galaxy"] for row in PIXELS.values())
]
# The pages of the report; any other galaxy's is made when its path is asked for.
QUICKLOOKS = [
    f"{RESULTS}/figures/quicklook/{galaxy}.png"
    for galaxy in dict.fromkeys(row["galaxy"] for row in PIXELS.values())
][: config["report"]["quicklooks"]]


def bands_with_images(galaxy):
    """Return the bands of the run in which a galaxy may have a raw image."""
    if config["survey"]["source"] != "local":
        return IMAGE_BANDS
    return [band for band in IMAGE_BANDS if band in config["survey"]["images"][galaxy]]


def largest_image(wildcards):
    """Return how many million pixels the largest image of a galaxy has, as the archive cuts it."""
    bands = configuration.image_bands(bands_with_images(wildcards.galaxy))
    finest = min(band_table()[band].pixel_arcsec for band in bands)
    if MOCK:
        finest = max(finest, config["mock"]["least_pixel_arcsec"])
    return (KNOWN[wildcards.galaxy].field_arcsec / finest) ** 2 / 1e6


def clean_threads(wildcards):
    """Return how many images are cleaned at once.

    Few if they are large, for the memory's sake; one if they are so small that the job has hardly
    begun when it ends, since a core that it holds while it starts does nothing.
    """
    largest = largest_image(wildcards)
    return max(1, min(4, int(80 / largest))) if largest > 1 else 1


def convolve_threads(wildcards):
    """Return the threads of the transforms of a galaxy's images, one if these are small."""
    return 4 if largest_image(wildcards) > 1 else 1


def clean_memory(wildcards, attempt):
    """Return the memory in MB to clean images: 50 a million pixels (docs/method-images.md)."""
    megapixels = largest_image(wildcards) * clean_threads(wildcards)
    return round(500 + 50 * megapixels) * attempt


def star_memory(wildcards, attempt):
    """Return the memory in MB to read images one by one: 30 a million pixels."""
    return round(500 + 30 * largest_image(wildcards)) * attempt


def sky_settings(wildcards):
    """Return how the sky of a galaxy's images is fitted: some galaxies have an order of their own."""
    settings = {key: value for key, value in config["sky"].items() if key != "order_of"}
    order = config["sky"]["order_of"].get(wildcards.galaxy)
    return settings if order is None else settings | {"polynomial_order": order}


def product(wildcards):
    """Return where the image of a galaxy that DustPedia lacks comes from; None for the others."""
    rows = PRODUCTS.get(wildcards.galaxy)
    return rows and rows.get(wildcards.band, {"url": "", "source": "none is known"})


def raw_images(galaxy):
    """Return the raw images of a galaxy, in the order of their bands."""
    folder = f"{RESULTS}/images/{galaxy}/raw"
    return [f"{folder}/{band}.fits" for band in bands_with_images(galaxy)]


def star_input(wildcards):
    """Return what the star apertures of a galaxy are made of."""
    files = {
        "galaxies": f"{RESULTS}/sample/galaxies.csv",
        "by_hand": config["stars"]["by_hand"],
        "raw": raw_images(wildcards.galaxy),
    }
    if config["stars"]["source"] == "gaia":
        files["gaia"] = f"{FIELDS}/gaia/{wildcards.galaxy}.csv"
    return files


def clean_input(wildcards):
    """Return what the clean images of a galaxy are made of."""
    files = {
        "galaxies": f"{RESULTS}/sample/galaxies.csv",
        "stars": f"{RESULTS}/images/{wildcards.galaxy}/stars.ecsv",
        "raw": raw_images(wildcards.galaxy),
    }
    # E(B-V) that the table by hand gives is not fetched.
    if math.isnan(KNOWN[wildcards.galaxy].ebv):
        files["reddening"] = f"{FIELDS}/reddening/{wildcards.galaxy}.csv"
    return files


# What is fetched for the images, galaxy by galaxy.
IMAGE_DOWNLOADS = (
    [
        *expand(
            f"{DATA}/images/{{galaxy}}_{{band}}.fits", galaxy=KNOWN, band=IMAGE_BANDS
        ),
        *expand(
            f"{DATA}/gaia/{{galaxy}}.csv",
            galaxy=KNOWN if config["stars"]["source"] == "gaia" else [],
        ),
        *expand(
            f"{DATA}/reddening/{{galaxy}}.csv",
            galaxy=[name for name, one in KNOWN.items() if math.isnan(one.ebv)],
        ),
    ]
    if REAL and (PIXELS or config["photometry"]["source"] == "images")
    else []
)


def quicklook_input(wildcards):
    """Return what the quick-look page of a galaxy shows."""
    folder = f"{RESULTS}/images/{wildcards.galaxy}"
    scales = [
        scale
        for galaxy, scale in CUBES
        if galaxy == wildcards.galaxy and scale != sample.GLOBAL
    ]
    # The first scale of the run at which the galaxy has a cube.
    cubes = [f"{RESULTS}/cubes/{wildcards.galaxy}/{scale}.fits" for scale in scales[:1]]
    return {
        "cube": cubes,
        "galaxies": f"{RESULTS}/sample/galaxies.csv",
        "stars": f"{folder}/stars.ecsv",
        "raw": raw_images(wildcards.galaxy),
        "clean": [
            f"{folder}/clean/{band}.fits"
            for band in bands_with_images(wildcards.galaxy)
        ],
    }


# Cubes: how they are made, and the rows of the plan that have one.
SUMMED = config["photometry"]["source"] == "images"
CUBE_SETTINGS = {
    key: config["images"][key]
    for key in ("resampling", "field", "sky_pixels", "min_cover", "poisson")
} | {"kernels": config["images"]["kernels"] and f"{DATA}/{config['images']['kernels']}"}
CUBES = {
    (row["galaxy"], row["scale"]): row
    for row in PLAN
    if row["included"] and not TABLES and (SUMMED or row["scale"] != sample.GLOBAL)
}

# The pairs of band and target PSF that the cubes need, and of these the published kernels, by the
# names of their PSFs; the others are made.
PSF_PAIRS = sample.kernel_pairs(CUBES.values())
KERNEL_PAIRS = sorted(
    {
        (kernel_names()[band], kernel_names().get(target, target))
        for band, target in PSF_PAIRS
        if band in kernel_names() and band != target
    }
)
KERNEL_INDEX = (
    [f"{DATA}/{config['images']['kernels']}/index.csv"]
    if config["images"]["kernels"] and config["images"]["fetch_kernels"] and CUBES
    else []
)


def cube_rows(wildcards):
    """Return the rows of the plan of one galaxy that take images."""
    return [row for (galaxy, _), row in CUBES.items() if galaxy == wildcards.galaxy]


def true_rows(wildcards):
    """Return a galaxy's plan of one scale, whichever: truth is known where no fit is made."""
    scale = {"scales": [wildcards.scale]}
    return sample.plan(config | scale, [KNOWN[wildcards.galaxy]])


def convolved_images(wildcards):
    """Return the convolved images that a cube is stacked of."""
    row = CUBES[wildcards.galaxy, wildcards.scale]
    return expand(
        f"{RESULTS}/convolved/{wildcards.galaxy}/{{band}}.fits",
        band=configuration.image_bands(row["bands_full"].split(";")),
    )


def fitted_bands(wildcards):
    """Return the bands that a fit sees: of pixels, those whose images reach the common PSF."""
    # Fluxes without noise have the full fit alone.
    bands = configuration.fit_bands(config, wildcards.get("fit", "full"))
    row = PIXELS.get(wildcards.sample)
    allowed = row["bands_full"].split(";") if row else bands
    return [band for band in bands if band in allowed]


N_SYNTHETIC = (
    len(read_csv(config["synthetic"]["truth"])) if config["synthetic"]["table"] else 0
)


def n_spectra(wildcards):
    """Return how many spectra the photometry of a sample holds, at most."""
    if wildcards.sample == "synthetic":
        return N_SYNTHETIC
    row = PIXELS.get(wildcards.sample)
    return row["n_pixel_expected"] if row else len(GALAXIES)


def fit_threads(wildcards):
    """Return the threads of a fit: small ones are over before more would pay."""
    return max(1, min(8, n_spectra(wildcards) // 200))


def fit_minutes(wildcards, attempt):
    """Return the wall time that a fit requests in minutes.

    One core fits a spectrum in 0.08 s with the paper's grid if the data are poor (docs/method-fits.md);
    threads are not counted on.
    """
    return (30 + n_spectra(wildcards) * 0.08 // 60) * attempt


def scale_of(name):
    """Return the scale of a sample."""
    return PIXELS[name]["scale"] if name in PIXELS else name


def tables_at(scale, pattern):
    """Return the tables of all samples of a scale; `pattern` has the place {sample}."""
    chosen = [name for name in SAMPLES if scale_of(name) == scale]
    return expand(f"{RESULTS}/{pattern}.parquet", sample=chosen)


def feature_file(experiment, scale):
    """Return the table of features that an experiment reads at a scale."""
    return f"{RESULTS}/features/{EXPERIMENTS[experiment]['features']}{scale}.parquet"


def experiment_features(wildcards):
    """Return the feature tables of an experiment, one a scale."""
    chosen = EXPERIMENTS[wildcards.experiment]["selection"].get("scales", LEARNED)
    return [feature_file(wildcards.experiment, scale) for scale in chosen]


def feature_input(wildcards):
    """Return what a table of features is made of."""
    return made_of(wildcards.variant, wildcards.scale)


def made_of(variant, scale):
    """Return what features are made of: photometry, the short fit and the targets."""
    settings = FEATURE_VARIANTS[variant]
    files = {
        "galaxies": f"{RESULTS}/sample/galaxies.csv",
        "photometry": tables_at(scale, "photometry/{sample}"),
        "short": tables_at(scale, f"sed/{{sample}}/{settings['short']}"),
    }
    if settings["dropout"]:
        files["photometry"].append(f"{RESULTS}/photometry/dropout.parquet")
        files["short"].append(f"{RESULTS}/sed/dropout/{settings['short']}.parquet")
    if settings["truth"] == experiments.OFFICIAL:
        files["truth"] = downloaded("official")
    elif scale in LEARNED:
        files["full"] = tables_at(scale, f"sed/{{sample}}/{settings['truth']}")
    return files


# Experiments of which galaxies take part with bands removed too.
DROPOUTS = [name for name, settings in EXPERIMENTS.items() if settings["dropout"]]


def model_folders(experiment, regressor=None):
    """Return the folders of the models of an experiment, all or those of one regressor."""
    return expand(
        f"{RESULTS}/models/{experiment}/{{regressor}}/{{target}}/fold{{fold}}",
        regressor=regressor or EXPERIMENTS[experiment]["regressors"],
        target=TARGETS,
        fold=FOLDS,
    )


# The paper's figures: whose predictions, at which scale.
FIGURES = config["figures"]
PIXEL_SCALES = [scale for scale in LEARNED if scale != sample.GLOBAL]
FIGURE_SCALE = (
    FIGURES["scale"] if FIGURES["scale"] in LEARNED else [*PIXEL_SCALES, *LEARNED][0]
)
FIGURE_EXPERIMENT = (
    FIGURES["experiment"]
    if FIGURES["experiment"] in EXPERIMENTS
    else list(EXPERIMENTS)[0]
)
FIGURE_REGRESSOR = EXPERIMENTS[FIGURE_EXPERIMENT]["regressors"][0]
FINE = {
    "experiment": FIGURES["fine"]["experiment"] or FIGURE_EXPERIMENT,
    "scale": FIGURES["fine"]["scale"] or FIGURE_SCALE,
}
for key, known in (("experiment", list(EXPERIMENTS)), ("scale", SCALES)):
    if FINE[key] not in known:
        raise WorkflowError(
            f"dustcast: figures.fine.{key}: {FINE[key]} is not one of the run's, "
            f"{', '.join(known)}: add it there or name one of these"
        )
# At a scale that nothing is learned at, predictions are a table of their own.
FINE_PREDICTIONS = (
    FINE["experiment"] if FINE["scale"] in LEARNED else f"at_{FINE['scale']}"
)
TOLD = FIGURES["told"]


def importance_input(wildcards):
    """Return what the importance of features is measured on."""
    chosen = EXPERIMENTS[FIGURE_EXPERIMENT]["selection"].get("scales", LEARNED)
    return {
        "features": [feature_file(FIGURE_EXPERIMENT, scale) for scale in chosen],
        "folds": f"{RESULTS}/folds.csv",
        "models": model_folders(FIGURE_EXPERIMENT, FIGURE_REGRESSOR),
    }


def fine_input(wildcards):
    """Return what predictions finer than the far-infrared are made of."""
    regressor = EXPERIMENTS[FINE["experiment"]]["regressors"][0]
    return {
        "features": [feature_file(FINE["experiment"], FINE["scale"])],
        "folds": f"{RESULTS}/folds.csv",
        "models": model_folders(FINE["experiment"], regressor),
    }


def told_input(wildcards):
    """Return what predictions for another pixel scale are made of."""
    return {
        "features": feature_file(FIGURE_EXPERIMENT, TOLD["scale"]),
        "folds": f"{RESULTS}/folds.csv",
        "models": model_folders(FIGURE_EXPERIMENT, FIGURE_REGRESSOR),
    }


# Experiments whose models stay: maps and figures use them.
KEPT = [name for name, settings in EXPERIMENTS.items() if settings["keep_models"]]
# Experiments of which each sample is one view of a galaxy.
RESOLVED = [name for name in EXPERIMENTS if name not in DROPOUTS]


def baseline_input(wildcards):
    """Return features, short fits and photometry of the experiment of the figures."""
    settings = EXPERIMENTS[FIGURE_EXPERIMENT]
    chosen = settings["selection"].get("scales", LEARNED)
    parts = [made_of(settings["features"], scale) for scale in chosen]
    return (
        {"features": [feature_file(FIGURE_EXPERIMENT, scale) for scale in chosen]}
        | {
            name: [path for part in parts for path in part[name]]
            for name in ("short", "photometry")
        }
        | {"true": true_tables(chosen)}
    )


def true_tables(scales):
    """Return what is true of the samples of scales; nothing where the sky is not simulated."""
    return [f"{RESULTS}/mock/truth/{scale}.parquet" for scale in scales if MOCK]


def number_input(wildcards):
    """Return what the paper's numbers need beside predictions, as far as the run has it."""
    chosen = [scale for scale in (FIGURES["scale"], sample.GLOBAL) if scale in LEARNED]
    settings = EXPERIMENTS[FIGURE_EXPERIMENT]
    files = {"photometry": "photometry/{sample}"}
    files |= {"short": f"sed/{{sample}}/{settings['short']}"}
    if settings["truth"] != experiments.OFFICIAL:
        files |= {"full": f"sed/{{sample}}/{settings['truth']}"}
    found = {
        name: [path for scale in chosen for path in tables_at(scale, pattern)]
        for name, pattern in files.items()
    }
    if FIGURES["scale"] in LEARNED:
        found["features"] = [feature_file(FIGURE_EXPERIMENT, FIGURES["scale"])]
    if TOLD["scale"] in SCALES:
        found["told"] = [f"{RESULTS}/metrics/told_{TOLD['instead']}.csv"]
    return found


def shipped_input(wildcards):
    """Return what the errors of sums are measured on: short fits and what is true of them."""
    settings = EXPERIMENTS[wildcards.experiment]
    scales = settings["selection"].get("scales", LEARNED)
    parts = [made_of(settings["features"], scale) for scale in scales]
    files = {"short": [path for part in parts for path in part["short"]]}
    if "truth" in parts[0]:
        return files | {"truth": parts[0]["truth"]}
    return files | {"full": [path for part in parts for path in part["full"]]}


def shipped_settings(experiment):
    """Return what a model that leaves the run says of its inputs."""
    settings = EXPERIMENTS[experiment]
    return {
        "name": f"{config['run']}/{experiment}",
        "description": settings["description"],
        "bands": configuration.fit_bands(config, settings["short"]),
        "scales": settings["selection"].get("scales", LEARNED),
        "selection": settings["selection"],
    } | {key: settings[key] for key in ("reference", "w1")}


# Maps: the model that predicts pixels, and what is written of each galaxy and scale.
MAP_PRODUCTS = [*TARGETS, "dust_mass", "dust_luminosity"]


def map_model(wildcards):
    """Return the folder of the model that predicts pixels; refuse one that cannot."""
    try:
        checks.check_model(config)
    except DataError as fault:
        raise WorkflowError(f"dustcast: {fault}") from None
    return config["maps"]["model"]


def distance_error(galaxy):
    """Return the error of a galaxy's distance in Mpc, NaN where the configuration gives none."""
    return config["sample"]["own"].get(galaxy, {}).get("distance_err", math.nan)


def synthetic_scores():
    """Return the lines of the metrics of synthetic observations, none if they were not made."""
    path = Path(f"{RESULTS}/synthetic/metrics.txt")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def sees_dust(row, beyond_um=0):
    """Return whether images of role target, of longer wavelengths, take part in a row of the plan."""
    seen = set(bands_with_images(row["galaxy"])) & set(row["bands_full"].split(";"))
    dust = {
        band for band in bands_of("target") if band_table()[band].pivot_um > beyond_um
    }
    return bool(seen & dust)


def true_pixels(wildcards):
    """Return the full fit of pixels whose far-infrared images make it a truth."""
    if not sees_dust(PIXELS[f"{wildcards.galaxy}/{wildcards.scale}"]):
        return {}
    return {"full": f"{RESULTS}/sed/{wildcards.galaxy}/{wildcards.scale}/full.parquet"}


def matched_to(galaxy, scale):
    """Return the row of the plan to whose full fit predictions finer than it are matched.

    That is the finest coarser scale that images beyond the peak of the dust's emission take part in;
    None for pixels that have these themselves, and where there is none or the configuration
    wants none.
    """
    here = PIXELS[f"{galaxy}/{scale}"]
    if config["maps"]["super_resolution"] == "none" or sees_dust(here, sample.PEAK_UM):
        return None
    coarser = [
        row
        for row in PIXELS.values()
        if row["galaxy"] == galaxy
        and row["pixel_arcsec"] > here["pixel_arcsec"]
        and sees_dust(row, sample.PEAK_UM)
    ]
    return min(coarser, key=lambda row: row["pixel_arcsec"], default=None)


def coarse_pixels(wildcards):
    """Return what the predictions of a galaxy are matched to."""
    row = matched_to(wildcards.galaxy, wildcards.scale)
    if row is None:
        raise WorkflowError(
            f"dustcast: {wildcards.galaxy} at {wildcards.scale} is matched to nothing: name a coarser "
            "scale with far-infrared images in scales, and a method in maps.super_resolution"
        )
    folder = f"{row['galaxy']}/{row['scale']}"
    return {
        "coarse_cube": f"{RESULTS}/cubes/{folder}.fits",
        "coarse_full": f"{RESULTS}/sed/{folder}/full.parquet",
    }


def matched_pixels(wildcards):
    """Return the matched predictions of pixels, where they are finer than the far-infrared."""
    if matched_to(wildcards.galaxy, wildcards.scale) is None:
        return {}
    folder = f"{wildcards.galaxy}/{wildcards.scale}"
    return {"matched": f"{RESULTS}/maps/{folder}/matched.parquet"}


def caption(name):
    """Return the path of a caption."""
    return f"../resources/captions/{name}.rst"


wildcard_constraints:
    galaxy=sample.GALAXY_PATTERN,
    band="|".join(map(re.escape, IMAGE_BANDS)),
    scale=sample.SCALE_PATTERN,
    # `dropout` is `global` once more with bands removed, `synthetic` a user's own table.
    sample=f"dropout|synthetic|(?:{sample.GALAXY_PATTERN}/)?(?:{sample.SCALE_PATTERN})",
    fit="|".join(map(re.escape, FITS)),
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    target="|".join(TARGETS),
    fold="[0-9]+",
    seed="[0-9]+",
    # Empty for the run's own features.
    variant=f"(?:{'|'.join(map(re.escape, FEATURE_VARIANTS))})",
