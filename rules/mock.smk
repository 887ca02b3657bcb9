# A simulated survey with known truth, in the same tables as the real one.


# Not part of a run: the moments ship as resources/mock_moments.json. `snakemake mock_moments` makes
# them anew for comparison.
rule measure_moments:
    input:
        official=f"{DATA}/dustpedia/dustpedia_cigale_results_final_version.csv",
        hyperleda=f"{DATA}/dustpedia/DustPedia_HyperLEDA_Herschel.csv",
        photometry=f"{DATA}/dustpedia/DustPedia_Aperture_Photometry_2.2.csv",
    output:
        f"{DATA}/mock_moments.json",
    log:
        log_of("measure_moments"),
    benchmark:
        benchmark_of("measure_moments")
    conda:
        "../envs/sed.yaml"
    params:
        code=code_hash("mock", "sed"),
    message:
        "Measuring the moments of the DustPedia galaxies"
    script:
        "../scripts/measure_moments.py"


rule mock_moments:
    input:
        rules.measure_moments.output,
    message:
        "Moments measured anew"


if TABLES:

    rule mock_photometry:
        input:
            models=MOCK_MODELS,
            plan=f"{RESULTS}/sample/plan.csv",
        output:
            photometry=expand(f"{RESULTS}/photometry/{{scale}}.parquet", scale=SCALES),
            truth=expand(f"{RESULTS}/mock/truth/{{scale}}.parquet", scale=SCALES),
        log:
            log_of("mock_photometry"),
        benchmark:
            benchmark_of("mock_photometry")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("mock", "sed"),
            mock=MOCK_SURVEY,
            scales=SCALES,
            bands=BANDS,
        message:
            "Simulating the photometry of {config[mock][n_galaxies]} galaxies"
        script:
            "../scripts/mock_photometry.py"


if MOCK and not TABLES:

    # One job a galaxy: its bands are images of one sky, which is the truth of all that follows.
    rule render_galaxy:
        input:
            models=MOCK_MODELS,
            galaxies=f"{RESULTS}/sample/galaxies.csv",
        output:
            images=expand(
                f"{RESULTS}/images/{{{{galaxy}}}}/raw/{{band}}.fits", band=IMAGE_BANDS
            ),
            gaia=f"{RESULTS}/mock/gaia/{{galaxy}}.csv",
            reddening=f"{RESULTS}/mock/reddening/{{galaxy}}.csv",
            sky=f"{RESULTS}/mock/sky/{{galaxy}}.fits",
            stars=f"{RESULTS}/mock/stars/{{galaxy}}.parquet",
            bands=f"{RESULTS}/mock/bands/{{galaxy}}.parquet",
        log:
            log_of("render_galaxy/{galaxy}"),
        benchmark:
            benchmark_of("render_galaxy/{galaxy}")
        conda:
            "../envs/mock.yaml"
        resources:
            mem_mb=growing(4000),
        params:
            code=code_hash("mock", "sed", "imaging"),
            bands=IMAGE_BANDS,
            rows=cube_rows,
            settings=CUBE_SETTINGS,
            mock=MOCK_SURVEY,
        message:
            "Simulating the images of {wildcards.galaxy}"
        script:
            "../scripts/render_galaxy.py"

    # One job a galaxy: starting takes longer than a scale does.
    rule true_maps:
        input:
            galaxies=f"{RESULTS}/sample/galaxies.csv",
            sky=f"{RESULTS}/mock/sky/{{galaxy}}.fits",
            kernels=rules.make_kernels.output[0],
        output:
            maps=f"{RESULTS}/mock/maps/{{galaxy}}.fits",
            table=f"{RESULTS}/mock/truth/galaxies/{{galaxy}}.parquet",
        log:
            log_of("true_maps/{galaxy}"),
        benchmark:
            benchmark_of("true_maps/{galaxy}")
        conda:
            "../envs/mock.yaml"
        resources:
            mem_mb=growing(4000),
        params:
            code=code_hash("mock", "imaging"),
            made=cube_rows,
            rows=cube_rows,
            settings=CUBE_SETTINGS,
            bands=BANDS,
        message:
            "True maps of {wildcards.galaxy}"
        script:
            "../scripts/true_maps.py"

    # Of any scale, such as 6.7arcsec and 18.4arcsec, when their path is asked for.
    use rule true_maps as true_maps_at with:
        output:
            maps=f"{RESULTS}/mock/maps/{{galaxy}}/{{scale}}.fits",
            table=f"{RESULTS}/mock/truth/galaxies/{{galaxy}}/{{scale}}.parquet",
        log:
            log_of("true_maps_at/{galaxy}_{scale}"),
        benchmark:
            benchmark_of("true_maps_at/{galaxy}_{scale}")
        params:
            code=code_hash("mock", "imaging"),
            made=true_rows,
        message:
            "True maps of {wildcards.galaxy} at {wildcards.scale}"

    rule mock_truth:
        input:
            lambda wildcards: [
                f"{RESULTS}/mock/truth/galaxies/{galaxy}.parquet"
                for galaxy, scale in CUBES
                if scale == wildcards.scale
            ],
        output:
            f"{RESULTS}/mock/truth/{{scale}}.parquet",
        log:
            log_of("mock_truth/{scale}"),
        benchmark:
            benchmark_of("mock_truth/{scale}")
        conda:
            "../envs/sample.yaml"
        params:
            code=code_hash(),
        message:
            "What is true of the samples at {wildcards.scale}"
        script:
            "../scripts/mock_truth.py"

    # What stars, sky and convolution add to the fluxes, against what was put into the images.
    rule stage_residuals:
        input:
            galaxies=f"{RESULTS}/sample/galaxies.csv",
            sky=f"{RESULTS}/mock/sky/{{galaxy}}.fits",
            stars=f"{RESULTS}/mock/stars/{{galaxy}}.parquet",
            bands=f"{RESULTS}/mock/bands/{{galaxy}}.parquet",
            clean=expand(
                f"{RESULTS}/images/{{{{galaxy}}}}/clean/{{band}}.fits",
                band=IMAGE_BANDS,
            ),
            kernels=rules.make_kernels.output[0],
            maps=rules.true_maps.output.maps,
        output:
            f"{RESULTS}/mock/stages/{{galaxy}}.parquet",
        log:
            log_of("stage_residuals/{galaxy}"),
        benchmark:
            benchmark_of("stage_residuals/{galaxy}")
        conda:
            "../envs/mock.yaml"
        resources:
            mem_mb=growing(4000),
        params:
            code=code_hash("mock", "imaging"),
            bands=IMAGE_BANDS,
            rows=cube_rows,
            settings=CUBE_SETTINGS,
        message:
            "Comparing the images of {wildcards.galaxy} with what was put into them"
        script:
            "../scripts/stage_residuals.py"


if MOCK:

    rule true_photometry:
        input:
            photometry=f"{RESULTS}/photometry/{{sample}}.parquet",
            truth=lambda wildcards: (
                f"{RESULTS}/mock/truth/{scale_of(wildcards.sample)}.parquet"
            ),
        output:
            f"{RESULTS}/mock/photometry/{{sample}}.parquet",
        log:
            log_of("true_photometry/{sample}"),
        benchmark:
            benchmark_of("true_photometry/{sample}")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("mock"),
        message:
            "True fluxes of {wildcards.sample}"
        script:
            "../scripts/true_photometry.py"

    # What the full fit makes of fluxes without noise: mixtures are no single models.
    rule fit_true_fluxes:
        input:
            photometry=f"{RESULTS}/mock/photometry/{{sample}}.parquet",
            grid=GRID,
            engine=ancient(f"{RESULTS}/sed/engine_compiled"),
        output:
            f"{RESULTS}/mock/fits/{{sample}}.parquet",
        log:
            log_of("fit_true_fluxes/{sample}"),
        benchmark:
            benchmark_of("fit_true_fluxes/{sample}")
        conda:
            "../envs/sed.yaml"
        threads: fit_threads
        resources:
            mem_mb=growing(2000),
            runtime=fit_minutes,
        params:
            code=code_hash("sed"),
            bands=fitted_bands,
            options={key: config["sed"][key] for key in FIT_OPTIONS},
            logs=[],
            marginals=[],
        message:
            "Fitting the true fluxes of {wildcards.sample}"
        script:
            "../scripts/fit_sed.py"

    FIRST = next(iter(EXPERIMENTS))

    # What each stage adds to the error. Fits and predictions are those of the first experiment.
    rule closure:
        input:
            photometry=[
                path
                for scale in LEARNED
                for path in tables_at(scale, "photometry/{sample}")
            ],
            truth=expand(f"{RESULTS}/mock/truth/{{scale}}.parquet", scale=LEARNED),
            full=[
                path
                for scale in LEARNED
                for path in tables_at(scale, "sed/{sample}/full")
            ],
            short=[
                path
                for scale in LEARNED
                for path in tables_at(scale, "sed/{sample}/short")
            ],
            true=(
                [
                    path
                    for scale in LEARNED
                    for path in tables_at(scale, "mock/fits/{sample}")
                ]
                if config["mock"]["noise_free_fits"]
                else []
            ),
            stages=(
                []
                if TABLES
                else [
                    f"{RESULTS}/mock/stages/{galaxy}.parquet"
                    for galaxy in dict.fromkeys(galaxy for galaxy, _ in CUBES)
                ]
            ),
            predictions=f"{RESULTS}/predictions/{FIRST}.parquet",
        output:
            f"{RESULTS}/tables/closure.csv",
        log:
            log_of("closure"),
        benchmark:
            benchmark_of("closure")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("mock"),
            # How many tables each scale has.
            scales={
                scale: len(tables_at(scale, "photometry/{sample}"))
                for scale in LEARNED
            },
            regressor=EXPERIMENTS[FIRST]["regressors"][0],
        message:
            "Measuring the error of each stage against truth"
        script:
            "../scripts/closure.py"

    rule closure_figure:
        input:
            f"{RESULTS}/tables/closure.csv",
        output:
            png=report(
                f"{RESULTS}/figures/closure.png",
                caption=caption("closure"),
                category="Closure",
                labels={"figure": "error of each stage against truth"},
            ),
            pdf=f"{RESULTS}/figures/closure.pdf",
        log:
            log_of("closure_figure"),
        benchmark:
            benchmark_of("closure_figure")
        conda:
            "../envs/figures.yaml"
        params:
            code=code_hash("figures"),
        message:
            "Figure: error of each stage against truth"
        script:
            "../scripts/closure_figure.py"

    # What DustPedia is like, for comparison: needs its tables, so only on request.
    rule dustpedia_population:
        input:
            photometry=downloaded("photometry"),
            official=downloaded("official"),
        output:
            f"{RESULTS}/mock/dustpedia.parquet",
        log:
            log_of("dustpedia_population"),
        benchmark:
            benchmark_of("dustpedia_population")
        conda:
            "../envs/sample.yaml"
        params:
            code=code_hash("archive"),
            bands=BANDS,
        message:
            "Colours and dust of the DustPedia galaxies"
        script:
            "../scripts/dustpedia_population.py"

    if sample.GLOBAL in SCALES:

        rule population_figure:
            input:
                real=f"{RESULTS}/mock/dustpedia.parquet",
                photometry=f"{RESULTS}/photometry/global.parquet",
                features=f"{RESULTS}/features/global.parquet",
            output:
                png=report(
                    f"{RESULTS}/figures/population.png",
                    caption=caption("population"),
                    category="Closure",
                    labels={"figure": "simulated galaxies over DustPedia's"},
                ),
                pdf=f"{RESULTS}/figures/population.pdf",
            log:
                log_of("population_figure"),
            benchmark:
                benchmark_of("population_figure")
            conda:
                "../envs/figures.yaml"
            params:
                code=code_hash("figures"),
            message:
                "Figure: simulated galaxies over those of DustPedia"
            script:
                "../scripts/population_figure.py"
