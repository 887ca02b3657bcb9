# From raw images to clean ones: fetching, stars, sky, extinction. Then to cubes of one grid and PSF,
# and to the photometry of pixels and galaxies.


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
        product=product,
    message:
        "Fetching the image of {wildcards.galaxy} in {wildcards.band}"
    script:
        "../scripts/download_image.py"


if KERNEL_INDEX:

    rule fetch_kernels:
        output:
            KERNEL_INDEX[0],
        log:
            log_of("fetch_kernels"),
        benchmark:
            benchmark_of("fetch_kernels")
        localrule: True
        conda:
            "../envs/sample.yaml"
        resources:
            downloads=1,
        params:
            code=code_hash("archive"),
            mirror=config["mirror"],
            pairs=KERNEL_PAIRS,
        message:
            "Fetching the published kernels between PSFs"
        script:
            "../scripts/fetch_kernels.py"


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


if REAL:

    # One job a galaxy: planning the links of a large sample one by one took as long as all the rest.
    rule raw_image:
        input:
            expand(f"{DATA}/images/{{{{galaxy}}}}_{{band}}.fits", band=IMAGE_BANDS),
        output:
            expand(
                f"{RESULTS}/images/{{{{galaxy}}}}/raw/{{band}}.fits", band=IMAGE_BANDS
            ),
        log:
            log_of("raw_image/{galaxy}"),
        benchmark:
            benchmark_of("raw_image/{galaxy}")
        localrule: True
        conda:
            "../envs/sample.yaml"
        params:
            code=code_hash(),
        message:
            "Linking the images of {wildcards.galaxy}"
        script:
            "../scripts/raw_image.py"

elif config["survey"]["source"] == "local":

    # Galaxies have the bands that their user names.
    rule raw_image:
        input:
            lambda wildcards: config["survey"]["images"][wildcards.galaxy][
                wildcards.band
            ],
        output:
            f"{RESULTS}/images/{{galaxy}}/raw/{{band}}.fits",
        log:
            log_of("raw_image/{galaxy}_{band}"),
        benchmark:
            benchmark_of("raw_image/{galaxy}_{band}")
        localrule: True
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
        mem_mb=star_memory,
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
    threads: clean_threads
    resources:
        mem_mb=clean_memory,
    params:
        code=code_hash("imaging"),
        bands=IMAGE_BANDS,
        raw=lambda wildcards: bands_with_images(wildcards.galaxy),
        missing_unit=MISSING_UNIT,
        least_cover=config["survey"]["least_cover"],
        sky=sky_settings,
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
        mem_mb=growing(4000),
    params:
        code=code_hash("imaging"),
        bands=lambda wildcards: bands_with_images(wildcards.galaxy),
        missing_unit=MISSING_UNIT,
    message:
        "Drawing the quick-look page of {wildcards.galaxy}"
    script:
        "../scripts/quicklook.py"


# Kernels lead from band to band, whatever the galaxy.
rule make_kernels:
    input:
        KERNEL_INDEX,
    output:
        f"{RESULTS}/kernels.fits",
    log:
        log_of("make_kernels"),
    benchmark:
        benchmark_of("make_kernels")
    conda:
        "../envs/images.yaml"
    params:
        code=code_hash("imaging"),
        pairs=PSF_PAIRS,
        folder=CUBE_SETTINGS["kernels"],
    message:
        "Finding the kernels between PSFs"
    script:
        "../scripts/make_kernels.py"


# One job a galaxy and image for all scales: the image is read and transformed once.
rule convolve_bands:
    input:
        galaxies=f"{RESULTS}/sample/galaxies.csv",
        clean=expand(
            f"{RESULTS}/images/{{{{galaxy}}}}/clean/{{band}}.fits", band=IMAGE_BANDS
        ),
        kernels=rules.make_kernels.output[0],
    output:
        [
            path if config["images"]["keep_convolved"] else temp(path)
            for path in expand(
                f"{RESULTS}/convolved/{{{{galaxy}}}}/{{band}}.fits", band=IMAGE_BANDS
            )
        ],
    log:
        log_of("convolve_bands/{galaxy}"),
    benchmark:
        benchmark_of("convolve_bands/{galaxy}")
    conda:
        "../envs/images.yaml"
    threads: convolve_threads
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("imaging"),
        rows=cube_rows,
        settings=CUBE_SETTINGS,
    message:
        "Convolving the images of {wildcards.galaxy}"
    script:
        "../scripts/convolve_bands.py"


rule stack_cube:
    input:
        galaxies=f"{RESULTS}/sample/galaxies.csv",
        convolved=convolved_images,
    output:
        f"{RESULTS}/cubes/{{galaxy}}/{{scale}}.fits",
    log:
        log_of("stack_cube/{galaxy}_{scale}"),
    benchmark:
        benchmark_of("stack_cube/{galaxy}_{scale}")
    conda:
        "../envs/images.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        code=code_hash("imaging"),
        row=lambda wildcards: CUBES[wildcards.galaxy, wildcards.scale],
        settings=CUBE_SETTINGS,
    message:
        "Stacking the cube of {wildcards.galaxy} at {wildcards.scale}"
    script:
        "../scripts/stack_cube.py"


rule extract_pixels:
    input:
        galaxies=f"{RESULTS}/sample/galaxies.csv",
        cube=f"{RESULTS}/cubes/{{galaxy}}/{{scale}}.fits",
    output:
        f"{RESULTS}/photometry/{{galaxy}}/{{scale}}.parquet",
    log:
        log_of("extract_pixels/{galaxy}_{scale}"),
    benchmark:
        benchmark_of("extract_pixels/{galaxy}_{scale}")
    conda:
        "../envs/images.yaml"
    params:
        code=code_hash("imaging"),
        bands=BANDS,
    message:
        "Photometry of the pixels of {wildcards.galaxy} at {wildcards.scale}"
    script:
        "../scripts/extract_pixels.py"


rule cubes:
    input:
        [f"{RESULTS}/cubes/{galaxy}/{scale}.fits" for galaxy, scale in CUBES],
    message:
        "All cubes of the plan are made"


rule pixels:
    input:
        [f"{RESULTS}/photometry/{name}.parquet" for name in PIXELS],
    message:
        "The photometry of all pixels of the plan is made"


if SUMMED:

    rule image_photometry:
        input:
            galaxies=f"{RESULTS}/sample/galaxies.csv",
            cubes=[
                f"{RESULTS}/cubes/{galaxy}/{scale}.fits"
                for galaxy, scale in CUBES
                if scale == sample.GLOBAL
            ],
            apertures=[
                f"{DATA}/{name}"
                for name in sample.catalogues(config)
                if name == sample.APERTURES
            ],
        output:
            photometry=f"{RESULTS}/photometry/global.parquet",
            apertures=f"{RESULTS}/photometry/apertures.parquet",
        log:
            log_of("image_photometry"),
        benchmark:
            benchmark_of("image_photometry")
        conda:
            "../envs/images.yaml"
        params:
            code=code_hash("imaging"),
            bands=BANDS,
        message:
            "Summing the images of whole galaxies"
        script:
            "../scripts/image_photometry.py"


rule quicklooks:
    input:
        QUICKLOOKS,
    message:
        "Quick-look pages"
