# Figures, tables and what the report shows.


rule predicted_vs_true:
    input:
        predictions=f"{RESULTS}/predictions/{{experiment}}.parquet",
        metrics=f"{RESULTS}/metrics/{{experiment}}.csv",
    output:
        png=report(
            f"{RESULTS}/figures/predicted_vs_true/{{experiment}}_{{regressor}}_{{scale}}.png",
            caption=caption("predicted_vs_true"),
            category="Predictions",
            subcategory="{experiment}",
            labels={
                "figure": "predicted against true",
                "regressor": "{regressor}",
                "scale": "{scale}",
            },
        ),
        pdf=f"{RESULTS}/figures/predicted_vs_true/{{experiment}}_{{regressor}}_{{scale}}.pdf",
    log:
        log_of("predicted_vs_true/{experiment}_{regressor}_{scale}"),
    benchmark:
        benchmark_of("predicted_vs_true/{experiment}_{regressor}_{scale}")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
    message:
        "Figure: predicted against true ({wildcards.experiment}, {wildcards.regressor})"
    script:
        "../scripts/predicted_vs_true.py"


rule calibration:
    input:
        predictions=f"{RESULTS}/predictions/{{experiment}}.parquet",
        metrics=f"{RESULTS}/metrics/{{experiment}}.csv",
    output:
        png=report(
            f"{RESULTS}/figures/calibration/{{experiment}}_{{regressor}}_{{scale}}.png",
            caption=caption("calibration"),
            category="Predictions",
            subcategory="{experiment}",
            labels={
                "figure": "error against sigma",
                "regressor": "{regressor}",
                "scale": "{scale}",
            },
        ),
        pdf=f"{RESULTS}/figures/calibration/{{experiment}}_{{regressor}}_{{scale}}.pdf",
    log:
        log_of("calibration/{experiment}_{regressor}_{scale}"),
    benchmark:
        benchmark_of("calibration/{experiment}_{regressor}_{scale}")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
    message:
        "Figure: prediction error against sigma ({wildcards.experiment}, {wildcards.regressor})"
    script:
        "../scripts/calibration.py"


rule parity_figure:
    input:
        values=f"{RESULTS}/sed/global/parity_{{fit}}.parquet",
        table=f"{RESULTS}/tables/parity_{{fit}}.csv",
    output:
        png=report(
            f"{RESULTS}/figures/parity/{{fit}}.png",
            caption=caption("parity"),
            category="Fits",
            labels={"figure": "own fits against official results", "fit": "{fit}"},
        ),
        pdf=f"{RESULTS}/figures/parity/{{fit}}.pdf",
    log:
        log_of("parity_figure/{fit}"),
    benchmark:
        benchmark_of("parity_figure/{fit}")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
    message:
        "Figure: the {wildcards.fit} fit against the official results"
    script:
        "../scripts/parity_figure.py"


rule metrics_page:
    input:
        metrics=expand(f"{RESULTS}/metrics/{{experiment}}.csv", experiment=EXPERIMENTS),
        seeds=[
            f"{RESULTS}/metrics/{experiment}_seeds.csv"
            for experiment, settings in EXPERIMENTS.items()
            if settings["fold_seeds"]
        ],
    output:
        report(
            f"{RESULTS}/tables/metrics.html",
            caption=caption("metrics"),
            category="Tables",
            labels={"table": "metrics of all experiments"},
        ),
    log:
        log_of("metrics_page"),
    benchmark:
        benchmark_of("metrics_page")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        descriptions={
            name: settings["description"] for name, settings in EXPERIMENTS.items()
        },
    message:
        "Table: metrics of all experiments"
    script:
        "../scripts/metrics_page.py"


rule tables:
    input:
        f"{RESULTS}/sample/plan.csv",
        f"{RESULTS}/sample/exclusions.csv",
        rules.metrics_page.output,
        rules.metrics_page.input,
        expand(f"{RESULTS}/metrics/{{experiment}}_galaxies.csv", experiment=EXPERIMENTS),
        expand(f"{RESULTS}/metrics/{{experiment}}_subsets.csv", experiment=DROPOUTS),
        expand(f"{RESULTS}/tables/parity_{{fit}}.csv", fit=PARITY_FITS),
        [f"{RESULTS}/tables/parity.csv", f"{RESULTS}/tables/parity_fluxes.csv"]
        if PARITY_FITS
        else [],
        f"{RESULTS}/tables/closure.csv" if MOCK else [],
    message:
        "All tables are in {RESULTS}/tables and {RESULTS}/metrics"


rule figures:
    input:
        [
            f"{RESULTS}/figures/{figure}/{experiment}_{regressor}_{scale}.png"
            for figure in ("predicted_vs_true", "calibration")
            for experiment, settings in EXPERIMENTS.items()
            for regressor in settings["regressors"]
            for scale in settings["selection"].get("scales", LEARNED)
        ],
        expand(f"{RESULTS}/figures/parity/{{fit}}.png", fit=PARITY_FITS),
        f"{RESULTS}/figures/closure.png" if MOCK else [],
    message:
        "All figures are in {RESULTS}/figures"
