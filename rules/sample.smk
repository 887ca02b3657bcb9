# Who is observed: catalogues, galaxies, the plan of scales, photometry of whole galaxies.


# On a cluster these run beside Snakemake: nodes often have no network, and the
# rest takes a second.
localrules:
    download_file,
    download_image,
    fetch_gaia,
    fetch_reddening,
    galaxies,
    plan,


rule download_file:
    output:
        f"{DATA}/{{file}}",
    log:
        log_of("download_file/{file}"),
    benchmark:
        benchmark_of("download_file/{file}")
    wildcard_constraints:
        file="|".join(map(re.escape, DOWNLOADS)),
    conda:
        "../envs/sample.yaml"
    resources:
        downloads=1,
    params:
        code=code_hash("archive"),
        row=lambda wildcards: DOWNLOADS[wildcards.file],
        mirror=config["mirror"],
    message:
        "Fetching {wildcards.file}"
    script:
        "../scripts/download_file.py"


rule catalogues:
    input:
        downloaded("catalogue"),
        [f"{DATA}/{name}" for name in sample.catalogues(config)],
    message:
        "The catalogues that the plan needs are in place"


rule download:
    input:
        downloaded("catalogue", "photometry", "official", "cigale", "themis"),
        IMAGE_DOWNLOADS,
        KERNEL_INDEX,
    message:
        "All files that can be fetched are in place"


rule galaxies:
    input:
        catalogue=[f"{DATA}/{name}" for name in sample.catalogues(config)],
        by_hand=[] if MOCK else config["sample"]["by_hand"],
    output:
        f"{RESULTS}/sample/galaxies.csv",
    log:
        log_of("galaxies"),
    benchmark:
        benchmark_of("galaxies")
    conda:
        "../envs/sample.yaml"
    params:
        code=code_hash(),
        sample=config["sample"],
        mock=MOCK_SURVEY if MOCK else None,
        images=config["survey"]["images"],
    message:
        "Listing the galaxies of the run"
    script:
        "../scripts/galaxies.py"


rule plan:
    input:
        f"{RESULTS}/sample/galaxies.csv",
    output:
        f"{RESULTS}/sample/plan.csv",
    log:
        log_of("plan"),
    benchmark:
        benchmark_of("plan")
    conda:
        "../envs/sample.yaml"
    params:
        code=code_hash(),
        scales=SCALES,
        bands=BANDS,
        size_cut=config["sample"]["size_cut"],
    message:
        "Writing the plan: what is done at which scale, and why not"
    script:
        "../scripts/plan.py"


if (
    config["survey"]["source"] == "dustpedia"
    and config["photometry"]["source"] == "catalogue"
):

    rule catalogue_photometry:
        input:
            photometry=downloaded("photometry"),
            galaxies=f"{RESULTS}/sample/galaxies.csv",
        output:
            f"{RESULTS}/photometry/global.parquet",
        log:
            log_of("catalogue_photometry"),
        benchmark:
            benchmark_of("catalogue_photometry")
        conda:
            "../envs/sample.yaml"
        params:
            code=code_hash("archive"),
            bands=BANDS,
        message:
            "Reading DustPedia's aperture photometry"
        script:
            "../scripts/catalogue_photometry.py"
