# A synthetic survey with known truth, in the same tables as the real one.

if config["survey"]["source"] == "mock":

    rule mock_photometry:
        input:
            grid=GRID,
            galaxies=f"{RESULTS}/sample/galaxies.csv",
        output:
            photometry=f"{RESULTS}/photometry/global.parquet",
            truth=f"{RESULTS}/mock/truth.parquet",
        log:
            log_of("mock_photometry"),
        benchmark:
            benchmark_of("mock_photometry")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("mock", "sed"),
            mock=config["mock"],
            bands=BANDS,
        message:
            "Simulating the photometry of {config[mock][n_galaxies]} galaxies"
        script:
            "../scripts/mock_photometry.py"
