# Predictions of pixels written back onto the sky.


rule predict_pixels:
    input:
        unpack(true_pixels),
        photometry=f"{RESULTS}/photometry/{{galaxy}}/{{scale}}.parquet",
        short=f"{RESULTS}/sed/{{galaxy}}/{{scale}}/short.parquet",
        model=map_model,
    output:
        f"{RESULTS}/maps/{{galaxy}}/{{scale}}/predictions.parquet",
    log:
        log_of("predict_pixels/{galaxy}_{scale}"),
    benchmark:
        benchmark_of("predict_pixels/{galaxy}_{scale}")
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("learning"),
    message:
        "Predicting the pixels of {wildcards.galaxy} at {wildcards.scale}"
    script:
        "../scripts/predict_pixels.py"


# Predictions finer than the far-infrared, made to agree with it.
rule match_predictions:
    input:
        unpack(coarse_pixels),
        predictions=f"{RESULTS}/maps/{{galaxy}}/{{scale}}/predictions.parquet",
        photometry=f"{RESULTS}/photometry/{{galaxy}}/{{scale}}.parquet",
        short=f"{RESULTS}/sed/{{galaxy}}/{{scale}}/short.parquet",
        cube=f"{RESULTS}/cubes/{{galaxy}}/{{scale}}.fits",
        model=map_model,
    output:
        f"{RESULTS}/maps/{{galaxy}}/{{scale}}/matched.parquet",
    log:
        log_of("match_predictions/{galaxy}_{scale}"),
    benchmark:
        benchmark_of("match_predictions/{galaxy}_{scale}")
    conda:
        "../envs/maps.yaml"
    params:
        code=code_hash("maps"),
        method=config["maps"]["super_resolution"],
    message:
        "Matching the predictions of {wildcards.galaxy} at {wildcards.scale} to its far-infrared"
    script:
        "../scripts/match_predictions.py"


rule predict_map:
    input:
        unpack(matched_pixels),
        predictions=f"{RESULTS}/maps/{{galaxy}}/{{scale}}/predictions.parquet",
        photometry=f"{RESULTS}/photometry/{{galaxy}}/{{scale}}.parquet",
        short=f"{RESULTS}/sed/{{galaxy}}/{{scale}}/short.parquet",
        cube=f"{RESULTS}/cubes/{{galaxy}}/{{scale}}.fits",
        galaxies=f"{RESULTS}/sample/galaxies.csv",
        model=map_model,
    output:
        **{
            product: f"{RESULTS}/maps/{{galaxy}}/{{scale}}/{product}.fits"
            for product in MAP_PRODUCTS
        },
        totals=f"{RESULTS}/maps/{{galaxy}}/{{scale}}/totals.csv",
    log:
        log_of("predict_map/{galaxy}_{scale}"),
    benchmark:
        benchmark_of("predict_map/{galaxy}_{scale}")
    conda:
        "../envs/maps.yaml"
    params:
        code=code_hash("maps"),
        deproject=config["maps"]["deproject"],
        distance_err=lambda wildcards: distance_error(wildcards.galaxy),
    message:
        "Writing the dust maps of {wildcards.galaxy} at {wildcards.scale}"
    script:
        "../scripts/predict_map.py"


rule dust_maps:
    input:
        **{
            product: f"{RESULTS}/maps/{{galaxy}}/{{scale}}/{product}.fits"
            for product in MAP_PRODUCTS
        },
        totals=f"{RESULTS}/maps/{{galaxy}}/{{scale}}/totals.csv",
        cube=f"{RESULTS}/cubes/{{galaxy}}/{{scale}}.fits",
    output:
        report(
            f"{RESULTS}/figures/dust_maps/{{galaxy}}_{{scale}}.png",
            caption=caption("dust_maps"),
            category="Maps",
            labels={"figure": "dust maps", "galaxy": "{galaxy}", "scale": "{scale}"},
        ),
    log:
        log_of("dust_maps/{galaxy}_{scale}"),
    benchmark:
        benchmark_of("dust_maps/{galaxy}_{scale}")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
    message:
        "Figure: dust maps of {wildcards.galaxy} at {wildcards.scale}"
    script:
        "../scripts/dust_maps.py"


rule maps:
    input:
        [
            f"{RESULTS}/maps/{name}/{product}.fits"
            for name in PIXELS
            for product in MAP_PRODUCTS
        ],
        [
            f"{RESULTS}/figures/dust_maps/{row['galaxy']}_{row['scale']}.png"
            for row in PIXELS.values()
        ],
    message:
        "Dust maps are in {RESULTS}/maps, their pages in {RESULTS}/figures/dust_maps"


# A user's synthetic observations, whose dust is known: fitted as the sample `synthetic`.
if config["synthetic"]["table"]:

    rule synthetic_photometry:
        input:
            table=config["synthetic"]["table"],
            truth=config["synthetic"]["truth"],
        output:
            f"{RESULTS}/photometry/synthetic.parquet",
        log:
            log_of("synthetic_photometry"),
        benchmark:
            benchmark_of("synthetic_photometry")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("sed"),
            bands=BANDS,
        message:
            "Reading the synthetic observations"
        script:
            "../scripts/synthetic_photometry.py"

    rule predict_synthetic:
        input:
            photometry=f"{RESULTS}/photometry/synthetic.parquet",
            short=f"{RESULTS}/sed/synthetic/short.parquet",
            truth=config["synthetic"]["truth"],
            model=map_model,
        output:
            predictions=f"{RESULTS}/synthetic/predictions.parquet",
            metrics=f"{RESULTS}/synthetic/metrics.csv",
            text=f"{RESULTS}/synthetic/metrics.txt",
        log:
            log_of("predict_synthetic"),
        benchmark:
            benchmark_of("predict_synthetic")
        conda:
            "../envs/learning.yaml"
        params:
            code=code_hash("learning"),
            n_bootstrap=config["learning"]["n_bootstrap"],
            seed=config["learning"]["seed"],
        message:
            "Predicting the dust of the synthetic observations"
        script:
            "../scripts/predict_synthetic.py"

    rule synthetic:
        input:
            rules.predict_synthetic.output,
        message:
            f"Predictions and metrics are in {RESULTS}/synthetic"

    onsuccess:
        for line in synthetic_scores():
            print(line, file=sys.stderr)
