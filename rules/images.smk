# From raw images to clean ones: fetching, stars, sky, extinction.


# `update`: what is there and whole is kept, or a change of the library would fetch all anew.
rule download_image:
    output:
        update(f"{DATA}/images/{{galaxy}}_{{band}}.fits"),
    log:
        log_of("download_image/{galaxy}_{band}"),
    benchmark:
        benchmark_of("download_image/{galaxy}_{band}")
    conda:
        "../envs/sample.yaml"
    resources:
        downloads=1,
    params:
        code=code_hash("archive"),
        mirror=config["mirror"],
    message:
        "Fetching the image of {wildcards.galaxy} in {wildcards.band}"
    script:
        "../scripts/download_image.py"


rule fetch_gaia:
    output:
        update(f"{DATA}/gaia/{{galaxy}}.csv"),
    log:
        log_of("fetch_gaia/{galaxy}"),
    benchmark:
        benchmark_of("fetch_gaia/{galaxy}")
    conda:
        "../envs/sample.yaml"
    resources:
        downloads=1,
    params:
        code=code_hash("archive"),
        mirror=config["mirror"],
        galaxy=lambda wildcards: KNOWN[wildcards.galaxy],
    message:
        "Fetching the stars around {wildcards.galaxy} from Gaia DR2"
    script:
        "../scripts/fetch_gaia.py"


rule fetch_reddening:
    output:
        update(f"{DATA}/reddening/{{galaxy}}.csv"),
    log:
        log_of("fetch_reddening/{galaxy}"),
    benchmark:
        benchmark_of("fetch_reddening/{galaxy}")
    conda:
        "../envs/sample.yaml"
    resources:
        downloads=1,
    params:
        code=code_hash("archive"),
        mirror=config["mirror"],
        galaxy=lambda wildcards: KNOWN[wildcards.galaxy],
    message:
        "Fetching E(B-V) of {wildcards.galaxy}"
    script:
        "../scripts/fetch_reddening.py"


if config["survey"]["source"] != "mock":

    rule raw_image:
        input:
            raw_source,
        output:
            f"{RESULTS}/images/{{galaxy}}/raw/{{band}}.fits",
        log:
            log_of("raw_image/{galaxy}_{band}"),
        benchmark:
            benchmark_of("raw_image/{galaxy}_{band}")
        conda:
            "../envs/sample.yaml"
        params:
            code=code_hash(),
        message:
            "Linking the image of {wildcards.galaxy} in {wildcards.band}"
        script:
            "../scripts/raw_image.py"


rule find_stars:
    input:
        unpack(star_input),
    output:
        f"{RESULTS}/images/{{galaxy}}/stars.ecsv",
    log:
        log_of("find_stars/{galaxy}"),
    benchmark:
        benchmark_of("find_stars/{galaxy}")
    conda:
        "../envs/images.yaml"
    resources:
        mem_mb=4000,
    params:
        code=code_hash("imaging"),
        bands=lambda wildcards: bands_with_images(wildcards.galaxy),
        parallax_snr=config["stars"]["parallax_snr"],
        missing_unit=MISSING_UNIT,
    message:
        "Finding the stars in front of {wildcards.galaxy}"
    script:
        "../scripts/find_stars.py"


# One job a galaxy: a job a band would cost more to start than to run.
rule clean_image:
    input:
        unpack(clean_input),
    output:
        images=expand(
            f"{RESULTS}/images/{{{{galaxy}}}}/clean/{{band}}.fits", band=IMAGE_BANDS
        ),
        table=f"{RESULTS}/images/{{galaxy}}/clean.parquet",
    log:
        log_of("clean_image/{galaxy}"),
    benchmark:
        benchmark_of("clean_image/{galaxy}")
    conda:
        "../envs/images.yaml"
    threads: 4
    resources:
        mem_mb=6000,
    params:
        code=code_hash("imaging"),
        bands=IMAGE_BANDS,
        raw=lambda wildcards: bands_with_images(wildcards.galaxy),
        missing_unit=MISSING_UNIT,
        least_cover=config["survey"]["least_cover"],
        sky=config["sky"],
    message:
        "Cleaning the images of {wildcards.galaxy}"
    script:
        "../scripts/clean_image.py"


rule quicklook:
    input:
        unpack(quicklook_input),
    output:
        report(
            f"{RESULTS}/figures/quicklook/{{galaxy}}.png",
            caption=caption("quicklook"),
            category="Images",
        ),
    log:
        log_of("quicklook/{galaxy}"),
    benchmark:
        benchmark_of("quicklook/{galaxy}")
    conda:
        "../envs/images.yaml"
    resources:
        mem_mb=4000,
    params:
        code=code_hash("imaging"),
        bands=lambda wildcards: bands_with_images(wildcards.galaxy),
        missing_unit=MISSING_UNIT,
    message:
        "Drawing the quick-look page of {wildcards.galaxy}"
    script:
        "../scripts/quicklook.py"
