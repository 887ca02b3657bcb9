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
