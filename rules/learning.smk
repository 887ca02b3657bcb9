# Features, folds, models, predictions, metrics.


def feature_file(experiment, scale):
    """Return the table of features that an experiment reads at a scale."""
    return f"{RESULTS}/features/{EXPERIMENTS[experiment]['features']}{scale}.parquet"


def experiment_features(wildcards):
    """Return the feature tables of an experiment, one a scale."""
    chosen = EXPERIMENTS[wildcards.experiment]["selection"].get("scales", SCALES)
    return [feature_file(wildcards.experiment, scale) for scale in chosen]


def feature_input(wildcards):
    """Return what a table of features is made of: photometry, the short fit and the targets."""
    settings = FEATURE_VARIANTS[wildcards.variant]
    files = {
        "photometry": f"{RESULTS}/photometry/{wildcards.scale}.parquet",
        "short": f"{RESULTS}/sed/{wildcards.scale}/{settings['short']}.parquet",
    }
    if settings["truth"] == experiments.OFFICIAL:
        files["truth"] = downloaded("official")
    else:
        files["full"] = f"{RESULTS}/sed/{wildcards.scale}/{settings['truth']}.parquet"
    return files


def model_folders(experiment):
    """Return the folders of all models of an experiment."""
    return expand(
        f"{RESULTS}/models/{experiment}/{{regressor}}/{{target}}/fold{{fold}}",
        regressor=EXPERIMENTS[experiment]["regressors"],
        target=TARGETS,
        fold=FOLDS,
    )


rule build_features:
    input:
        unpack(feature_input),
    output:
        f"{RESULTS}/features/{{variant}}{{scale}}.parquet",
    params:
        code=code_hash("learning"),
        settings=lambda wildcards: FEATURE_VARIANTS[wildcards.variant],
        bands=lambda wildcards: configuration.fit_bands(
            config, FEATURE_VARIANTS[wildcards.variant]["short"]
        ),
        max_reduced_chi2=config["features"]["max_reduced_chi2"],
    log:
        log_of("build_features/{variant}{scale}"),
    benchmark:
        benchmark_of("build_features/{variant}{scale}")
    conda:
        "../envs/learning.yaml"
    message:
        "Building features and targets: {wildcards.variant}{wildcards.scale}"
    script:
        "../scripts/build_features.py"


rule split_folds:
    input:
        photometry=f"{RESULTS}/photometry/global.parquet",
        galaxies=f"{RESULTS}/sample/galaxies.csv",
    output:
        f"{RESULTS}/folds.csv",
    params:
        code=code_hash("learning"),
        n_folds=config["learning"]["n_folds"],
        seed=config["learning"]["seed"],
        share_folds=config["sample"]["share_folds"],
    log:
        log_of("split_folds"),
    benchmark:
        benchmark_of("split_folds")
    conda:
        "../envs/learning.yaml"
    message:
        "Splitting the galaxies into {params.n_folds} folds"
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
    params:
        code=code_hash("learning"),
        experiment=lambda wildcards: EXPERIMENTS[wildcards.experiment],
        settings=lambda wildcards: config["learning"]["settings"].get(wildcards.regressor, {}),
        seed=config["learning"]["seed"],
    log:
        log_of("train/{experiment}_{regressor}_{target}"),
    benchmark:
        benchmark_of("train/{experiment}_{regressor}_{target}")
    resources:
        mem_mb=4000,
    conda:
        "../envs/learning.yaml"
    message:
        "Training {wildcards.regressor} for {wildcards.target} ({wildcards.experiment})"
    script:
        "../scripts/train.py"


rule predict_folds:
    input:
        features=experiment_features,
        folds=f"{RESULTS}/folds.csv",
        models=lambda wildcards: model_folders(wildcards.experiment),
    output:
        f"{RESULTS}/predictions/{{experiment}}.parquet",
    params:
        code=code_hash("learning"),
        experiment=lambda wildcards: EXPERIMENTS[wildcards.experiment],
    log:
        log_of("predict_folds/{experiment}"),
    benchmark:
        benchmark_of("predict_folds/{experiment}")
    resources:
        mem_mb=4000,
    conda:
        "../envs/learning.yaml"
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
    params:
        code=code_hash("learning"),
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    log:
        log_of("evaluate/{experiment}"),
    benchmark:
        benchmark_of("evaluate/{experiment}")
    conda:
        "../envs/learning.yaml"
    message:
        "Computing the metrics of {wildcards.experiment}"
    script:
        "../scripts/evaluate.py"


# The same experiment on other folds: how much of a difference is the luck of the split.
rule repeat_folds:
    input:
        features=experiment_features,
        photometry=f"{RESULTS}/photometry/global.parquet",
        galaxies=f"{RESULTS}/sample/galaxies.csv",
    output:
        f"{RESULTS}/metrics/seeds/{{experiment}}_{{seed}}.csv",
    params:
        code=code_hash("learning"),
        experiment=lambda wildcards: EXPERIMENTS[wildcards.experiment],
        settings=config["learning"]["settings"],
        n_folds=config["learning"]["n_folds"],
        share_folds=config["sample"]["share_folds"],
    log:
        log_of("repeat_folds/{experiment}_{seed}"),
    benchmark:
        benchmark_of("repeat_folds/{experiment}_{seed}")
    resources:
        mem_mb=4000,
    conda:
        "../envs/learning.yaml"
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
    params:
        code=code_hash("learning"),
    log:
        log_of("collect_seeds/{experiment}"),
    benchmark:
        benchmark_of("collect_seeds/{experiment}")
    conda:
        "../envs/learning.yaml"
    message:
        "Averaging {wildcards.experiment} over the seeds of the folds"
    script:
        "../scripts/collect_seeds.py"
