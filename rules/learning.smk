# Features, folds, models, predictions, metrics.


# Whole galaxies once more, as if fewer bands had been observed: fitted as the sample `dropout`.
rule drop_bands:
    input:
        f"{RESULTS}/photometry/global.parquet",
    output:
        f"{RESULTS}/photometry/dropout.parquet",
    log:
        log_of("drop_bands"),
    benchmark:
        benchmark_of("drop_bands")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        dropout=config["learning"]["dropout"],
        bands=[band for band in BANDS if band in bands_of("input")],
        seed=config["learning"]["seed"],
    message:
        "Removing bands from the photometry of whole galaxies"
    script:
        "../scripts/drop_bands.py"


rule build_features:
    input:
        unpack(feature_input),
    output:
        f"{RESULTS}/features/{{variant}}{{scale}}.parquet",
    log:
        log_of("build_features/{variant}{scale}"),
    benchmark:
        benchmark_of("build_features/{variant}{scale}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        settings=lambda wildcards: FEATURE_VARIANTS[wildcards.variant],
        bands=lambda wildcards: configuration.fit_bands(
            config, FEATURE_VARIANTS[wildcards.variant]["short"]
        ),
        max_reduced_chi2=config["features"]["max_reduced_chi2"],
    message:
        "Building features and targets: {wildcards.variant}{wildcards.scale}"
    script:
        "../scripts/build_features.py"


rule split_folds:
    input:
        photometry=expand(f"{RESULTS}/photometry/{{sample}}.parquet", sample=SAMPLES),
        galaxies=f"{RESULTS}/sample/galaxies.csv",
    output:
        f"{RESULTS}/folds.csv",
    log:
        log_of("split_folds"),
    benchmark:
        benchmark_of("split_folds")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        settings=FOLD_SETTINGS,
    message:
        "Splitting the galaxies into {params.settings[n_folds]} folds"
    script:
        "../scripts/split_folds.py"


rule train:
    input:
        features=experiment_features,
        folds=f"{RESULTS}/folds.csv",
    output:
        directory(
            expand(
                f"{RESULTS}/models/{{{{experiment}}}}/{{{{regressor}}}}/{{{{target}}}}/fold{{fold}}",
                fold=FOLDS,
            )
        ),
    log:
        log_of("train/{experiment}_{regressor}_{target}"),
    benchmark:
        benchmark_of("train/{experiment}_{regressor}_{target}")
    wildcard_constraints:
        experiment="|".join(map(re.escape, KEPT)) or "(?!)",
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("learning"),
        experiment=lambda wildcards: EXPERIMENTS[wildcards.experiment],
        settings=lambda wildcards: EXPERIMENTS[wildcards.experiment]["settings"].get(
            wildcards.regressor, {}
        ),
        seed=config["learning"]["seed"],
    message:
        "Training {wildcards.regressor} for {wildcards.target} ({wildcards.experiment})"
    script:
        "../scripts/train.py"


# Predictions are what remains of other experiments.
use rule train as train_experiment with:
    output:
        temp(
            directory(
                expand(
                    f"{RESULTS}/models/{{{{experiment}}}}/{{{{regressor}}}}/{{{{target}}}}/fold{{fold}}",
                    fold=FOLDS,
                )
            )
        ),
    log:
        log_of("train_experiment/{experiment}_{regressor}_{target}"),
    benchmark:
        benchmark_of("train_experiment/{experiment}_{regressor}_{target}")
    wildcard_constraints:
        experiment="|".join(
            re.escape(name) for name in EXPERIMENTS if name not in KEPT
        )
        or "(?!)",


rule predict_folds:
    input:
        features=experiment_features,
        folds=f"{RESULTS}/folds.csv",
        models=lambda wildcards: model_folders(wildcards.experiment),
    output:
        f"{RESULTS}/predictions/{{experiment}}.parquet",
    log:
        log_of("predict_folds/{experiment}"),
    benchmark:
        benchmark_of("predict_folds/{experiment}")
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("learning"),
        experiment=lambda wildcards: EXPERIMENTS[wildcards.experiment],
    message:
        "Predicting the galaxies that the models have not seen ({wildcards.experiment})"
    script:
        "../scripts/predict_folds.py"


rule evaluate:
    input:
        f"{RESULTS}/predictions/{{experiment}}.parquet",
    output:
        metrics=f"{RESULTS}/metrics/{{experiment}}.csv",
        galaxies=f"{RESULTS}/metrics/{{experiment}}_galaxies.csv",
    log:
        log_of("evaluate/{experiment}"),
    benchmark:
        benchmark_of("evaluate/{experiment}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Computing the metrics of {wildcards.experiment}"
    script:
        "../scripts/evaluate.py"


rule subset_metrics:
    input:
        f"{RESULTS}/predictions/{{experiment}}.parquet",
    output:
        f"{RESULTS}/metrics/{{experiment}}_subsets.csv",
    log:
        log_of("subset_metrics/{experiment}"),
    benchmark:
        benchmark_of("subset_metrics/{experiment}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Computing the metrics of {wildcards.experiment} by subset of bands"
    script:
        "../scripts/subset_metrics.py"


rule split_sigma:
    input:
        f"{RESULTS}/predictions/{{experiment}}.parquet",
    output:
        split=f"{RESULTS}/metrics/{{experiment}}_split.csv",
        galaxies=f"{RESULTS}/metrics/{{experiment}}_split_galaxies.csv",
        summary=f"{RESULTS}/metrics/{{experiment}}_split_summary.csv",
    log:
        log_of("split_sigma/{experiment}"),
    benchmark:
        benchmark_of("split_sigma/{experiment}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
    message:
        "Dividing sigma into a galaxy's and a pixel's part ({wildcards.experiment})"
    script:
        "../scripts/split_sigma.py"


# The same experiment on other folds: how much of a difference is the luck of the split.
rule repeat_folds:
    input:
        features=experiment_features,
        photometry=expand(f"{RESULTS}/photometry/{{sample}}.parquet", sample=SAMPLES),
        galaxies=f"{RESULTS}/sample/galaxies.csv",
    output:
        f"{RESULTS}/metrics/seeds/{{experiment}}_{{seed}}.csv",
    log:
        log_of("repeat_folds/{experiment}_{seed}"),
    benchmark:
        benchmark_of("repeat_folds/{experiment}_{seed}")
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("learning"),
        experiment=lambda wildcards: EXPERIMENTS[wildcards.experiment],
        folds=FOLD_SETTINGS,
        n_bootstrap=config["learning"]["n_bootstrap"],
    message:
        "Cross-validating {wildcards.experiment} on folds of seed {wildcards.seed}"
    script:
        "../scripts/repeat_folds.py"


rule collect_seeds:
    input:
        lambda wildcards: expand(
            f"{RESULTS}/metrics/seeds/{wildcards.experiment}_{{seed}}.csv",
            seed=EXPERIMENTS[wildcards.experiment]["fold_seeds"],
        ),
    output:
        f"{RESULTS}/metrics/{{experiment}}_seeds.csv",
    log:
        log_of("collect_seeds/{experiment}"),
    benchmark:
        benchmark_of("collect_seeds/{experiment}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
    message:
        "Averaging {wildcards.experiment} over the seeds of the folds"
    script:
        "../scripts/collect_seeds.py"


# What sigma of models of whole galaxies is worth on pixels: config/sigma_split.csv.
rule sigma_split:
    input:
        whole=f"{RESULTS}/features/global.parquet",
        pixels=f"{RESULTS}/features/{{scale}}.parquet",
        folds=f"{RESULTS}/folds.csv",
    output:
        f"{RESULTS}/tables/sigma_split_{{scale}}.csv",
    log:
        log_of("sigma_split/{scale}"),
    benchmark:
        benchmark_of("sigma_split/{scale}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        selection={"flux_errors": True},
        regressor="xgboost",
        seed=config["learning"]["seed"],
    message:
        "Carrying sigma of whole galaxies to pixels of {wildcards.scale}"
    script:
        "../scripts/sigma_split.py"


# What leaves the run: the models of an experiment's first regressor, and one of all its galaxies.
rule ship_model:
    input:
        unpack(shipped_input),
        features=experiment_features,
        folds=f"{RESULTS}/folds.csv",
        predictions=f"{RESULTS}/predictions/{{experiment}}.parquet",
        models=lambda wildcards: model_folders(
            wildcards.experiment, EXPERIMENTS[wildcards.experiment]["regressors"][0]
        ),
        split="config/sigma_split.csv",
    output:
        directory(f"{RESULTS}/shipped/{{experiment}}"),
    log:
        log_of("ship_model/{experiment}"),
    benchmark:
        benchmark_of("ship_model/{experiment}")
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("learning"),
        settings=lambda wildcards: shipped_settings(wildcards.experiment),
        regressor=lambda wildcards: EXPERIMENTS[wildcards.experiment]["regressors"][0],
        dropout=lambda wildcards: EXPERIMENTS[wildcards.experiment]["dropout"],
        n_bootstrap=config["learning"]["n_bootstrap"],
    message:
        "Writing the model of {wildcards.experiment} that predicts any galaxy"
    script:
        "../scripts/ship_model.py"
