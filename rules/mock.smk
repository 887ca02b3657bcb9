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


if MOCK:

    FIRST = next(iter(EXPERIMENTS))

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

    # What each stage adds to the error. Fits and predictions are those of the first experiment.
    rule closure:
        input:
            photometry=expand(f"{RESULTS}/photometry/{{scale}}.parquet", scale=SCALES),
            truth=expand(f"{RESULTS}/mock/truth/{{scale}}.parquet", scale=SCALES),
            full=expand(f"{RESULTS}/sed/{{scale}}/full.parquet", scale=SCALES),
            short=expand(f"{RESULTS}/sed/{{scale}}/short.parquet", scale=SCALES),
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
            scales=SCALES,
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
