# The paper's figures, each by its own target, and its numbers.


rule selections:
    input:
        f"{RESULTS}/predictions/{{experiment}}.parquet",
    output:
        averages=f"{RESULTS}/predictions/{{experiment}}_averages.parquet",
        metrics=f"{RESULTS}/metrics/{{experiment}}_selections.csv",
    log:
        log_of("selections/{experiment}"),
    benchmark:
        benchmark_of("selections/{experiment}")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        selections={
            "named": FIGURES["highlight"],
            "nearby": FIGURES["nearby"],
            "shared": FIGURES["shared"],
        },
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Averaging and selecting predictions of {wildcards.experiment}"
    script:
        "../scripts/selections.py"


rule told_scale:
    input:
        unpack(told_input),
    output:
        predictions=f"{RESULTS}/predictions/told_{TOLD['instead']}.parquet",
        metrics=f"{RESULTS}/metrics/told_{TOLD['instead']}.csv",
    log:
        log_of("told_scale"),
    benchmark:
        benchmark_of("told_scale")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        experiment=EXPERIMENTS[FIGURE_EXPERIMENT],
        told=TOLD,
        pixel_scale_pc=sample.parse_scale(TOLD["instead"])[0],
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Predicting the pixels of {TOLD[scale]} as if they were of {TOLD[instead]}"
    script:
        "../scripts/told_scale.py"


# Pixels finer than the far-infrared, of which nothing is known but what the models predict.
use rule predict_folds as predict_fine with:
    input:
        unpack(fine_input),
    output:
        f"{RESULTS}/predictions/at_{FINE['scale']}.parquet",
    log:
        log_of("predict_fine"),
    benchmark:
        benchmark_of("predict_fine")
    params:
        code=code_hash("learning"),
        experiment={
            "selection": EXPERIMENTS[FINE["experiment"]]["selection"]
            | {"scales": [FINE["scale"]]}
        },
    message:
        "Predicting the pixels of {FINE[scale]} ({FINE[experiment]})"


rule fig1:
    input:
        predictions=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
        metrics=f"{RESULTS}/metrics/{FIGURE_EXPERIMENT}_selections.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig1.png",
            caption=caption("figure_panels"),
            category="Paper",
            labels={"figure": "01", "shows": "predicted against true values"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig1.pdf",
    log:
        log_of("fig1"),
    benchmark:
        benchmark_of("fig1")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        selection="all",
        galaxies=None,
    message:
        "Figure 1: predicted against true values"
    script:
        "../scripts/figure_panels.py"


rule fig2:
    input:
        predictions=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
        metrics=f"{RESULTS}/metrics/{FIGURE_EXPERIMENT}_selections.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig2.png",
            caption=caption("figure_scales"),
            category="Paper",
            labels={"figure": "02", "shows": "specific dust mass at every scale"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig2.pdf",
    log:
        log_of("fig2"),
    benchmark:
        benchmark_of("fig2")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        target="sMd",
        scales=PIXEL_SCALES,
    message:
        "Figure 2: specific dust mass at every scale"
    script:
        "../scripts/figure_scales.py"


rule fig3:
    input:
        averages=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}_averages.parquet",
        metrics=f"{RESULTS}/metrics/{FIGURE_EXPERIMENT}_selections.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig3.png",
            caption=caption("figure_averages"),
            category="Paper",
            labels={"figure": "03", "shows": "averages of galaxies"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig3.pdf",
    log:
        log_of("fig3"),
    benchmark:
        benchmark_of("fig3")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        highlight=FIGURES["highlight"],
    message:
        "Figure 3: averages of galaxies"
    script:
        "../scripts/figure_averages.py"


rule fig4:
    input:
        predictions=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
        metrics=f"{RESULTS}/metrics/{FIGURE_EXPERIMENT}_selections.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig4.png",
            caption=caption("figure_errors"),
            category="Paper",
            labels={"figure": "04", "shows": "error against predicted sigma"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig4.pdf",
    log:
        log_of("fig4"),
    benchmark:
        benchmark_of("fig4")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        target="sMd",
    message:
        "Figure 4: error against predicted sigma"
    script:
        "../scripts/figure_errors.py"


rule fig5:
    input:
        predictions=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
        metrics=f"{RESULTS}/metrics/{FIGURE_EXPERIMENT}_selections.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig5.png",
            caption=caption("figure_overview"),
            category="Paper",
            labels={"figure": "05", "shows": "maps of one galaxy"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig5.pdf",
    log:
        log_of("fig5"),
    benchmark:
        benchmark_of("fig5")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        galaxy=(FIGURES["highlight"] + ["", ""])[0],
    message:
        "Figure 5: maps of one galaxy"
    script:
        "../scripts/figure_overview.py"


use rule fig5 as fig6 with:
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig6.png",
            caption=caption("figure_overview"),
            category="Paper",
            labels={"figure": "06", "shows": "maps of another galaxy"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig6.pdf",
    log:
        log_of("fig6"),
    benchmark:
        benchmark_of("fig6")
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        galaxy=(FIGURES["highlight"] + ["", ""])[1],
    message:
        "Figure 6: maps of another galaxy"


use rule fig1 as fig7 with:
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig7.png",
            caption=caption("figure_panels"),
            category="Paper",
            labels={"figure": "07", "shows": "nearby galaxies"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig7.pdf",
    log:
        log_of("fig7"),
    benchmark:
        benchmark_of("fig7")
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        selection="nearby",
        galaxies=FIGURES["nearby"],
    message:
        "Figure 7: nearby galaxies"


rule fig8:
    input:
        predictions=(
            rules.told_scale.output.predictions if TOLD["scale"] in LEARNED else []
        ),
        metrics=rules.told_scale.output.metrics if TOLD["scale"] in LEARNED else [],
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig8.png",
            caption=caption("figure_told"),
            category="Paper",
            labels={"figure": "08", "shows": "the model is told another pixel scale"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig8.pdf",
    log:
        log_of("fig8"),
    benchmark:
        benchmark_of("fig8")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        told=TOLD,
    message:
        "Figure 8: the model is told another pixel scale"
    script:
        "../scripts/figure_told.py"


rule fig9:
    input:
        fine=f"{RESULTS}/predictions/{FINE_PREDICTIONS}.parquet",
        coarse=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
    output:
        png=report(
            f"{RESULTS}/figures/paper/fig9.png",
            caption=caption("figure_fine"),
            category="Paper",
            labels={"figure": "09", "shows": "maps of specific dust mass"},
        ),
        pdf=f"{RESULTS}/figures/paper/fig9.pdf",
    log:
        log_of("fig9"),
    benchmark:
        benchmark_of("fig9")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        fine=FINE,
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        galaxies=FIGURES["fine"]["galaxies"],
        target="sMd",
    message:
        "Figure 9: maps of specific dust mass"
    script:
        "../scripts/figure_fine.py"


use rule fig2 as figA1 with:
    output:
        png=report(
            f"{RESULTS}/figures/paper/figA1.png",
            caption=caption("figure_scales"),
            category="Paper",
            labels={
                "figure": "A.1",
                "shows": "specific dust luminosity at every scale",
            },
        ),
        pdf=f"{RESULTS}/figures/paper/figA1.pdf",
    log:
        log_of("figA1"),
    benchmark:
        benchmark_of("figA1")
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        target="sLd",
        scales=PIXEL_SCALES,
    message:
        "Figure A.1: specific dust luminosity at every scale"


use rule fig2 as figA2 with:
    output:
        png=report(
            f"{RESULTS}/figures/paper/figA2.png",
            caption=caption("figure_scales"),
            category="Paper",
            labels={"figure": "A.2", "shows": "dust temperature at every scale"},
        ),
        pdf=f"{RESULTS}/figures/paper/figA2.pdf",
    log:
        log_of("figA2"),
    benchmark:
        benchmark_of("figA2")
    params:
        code=code_hash("figures"),
        regressor=FIGURE_REGRESSOR,
        target="Td",
        scales=PIXEL_SCALES,
    message:
        "Figure A.2: dust temperature at every scale"


use rule fig9 as figA3 with:
    output:
        png=report(
            f"{RESULTS}/figures/paper/figA3.png",
            caption=caption("figure_fine"),
            category="Paper",
            labels={"figure": "A.3", "shows": "maps of specific dust luminosity"},
        ),
        pdf=f"{RESULTS}/figures/paper/figA3.pdf",
    log:
        log_of("figA3"),
    benchmark:
        benchmark_of("figA3")
    params:
        code=code_hash("figures"),
        fine=FINE,
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        galaxies=FIGURES["fine"]["galaxies"],
        target="sLd",
    message:
        "Figure A.3: maps of specific dust luminosity"


use rule fig9 as figA4 with:
    output:
        png=report(
            f"{RESULTS}/figures/paper/figA4.png",
            caption=caption("figure_fine"),
            category="Paper",
            labels={"figure": "A.4", "shows": "maps of dust temperature"},
        ),
        pdf=f"{RESULTS}/figures/paper/figA4.pdf",
    log:
        log_of("figA4"),
    benchmark:
        benchmark_of("figA4")
    params:
        code=code_hash("figures"),
        fine=FINE,
        regressor=FIGURE_REGRESSOR,
        scale=FIGURE_SCALE,
        galaxies=FIGURES["fine"]["galaxies"],
        target="Td",
    message:
        "Figure A.4: maps of dust temperature"


rule paper_numbers:
    input:
        unpack(number_input),
        predictions=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
        selections=expand(
            f"{RESULTS}/metrics/{{experiment}}_selections.csv", experiment=RESOLVED
        ),
        galaxies=f"{RESULTS}/sample/galaxies.csv",
        numbers="resources/paper_numbers.csv",
    output:
        numbers=report(
            f"{RESULTS}/tables/paper.csv",
            caption=caption("paper_numbers"),
            category="Paper",
            labels={"figure": "", "shows": "numbers of the paper and of this run"},
        ),
        profiles=f"{RESULTS}/tables/profiles.csv",
    log:
        log_of("paper_numbers"),
    benchmark:
        benchmark_of("paper_numbers")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        experiment=FIGURE_EXPERIMENT,
        regressors={name: EXPERIMENTS[name]["regressors"][0] for name in RESOLVED},
        scale=FIGURES["scale"],
        names=dict(zip(("first", "second"), [*FIGURES["highlight"], "", ""])),
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Table: the paper's numbers"
    script:
        "../scripts/paper_numbers.py"


rule compare_experiments:
    input:
        experiments=expand(
            f"{RESULTS}/predictions/{{experiment}}.parquet", experiment=RESOLVED
        ),
        fiducial=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
    output:
        report(
            f"{RESULTS}/tables/experiments.csv",
            caption=caption("experiments"),
            category="Paper",
            labels={"figure": "", "shows": "experiments beside the fiducial"},
        ),
    log:
        log_of("compare_experiments"),
    benchmark:
        benchmark_of("compare_experiments")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        experiments=RESOLVED,
        regressor=FIGURE_REGRESSOR,
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Table: experiments beside the fiducial"
    script:
        "../scripts/compare_experiments.py"


rule baselines:
    input:
        unpack(baseline_input),
        folds=f"{RESULTS}/folds.csv",
        predictions=f"{RESULTS}/predictions/{FIGURE_EXPERIMENT}.parquet",
    output:
        predictions=f"{RESULTS}/predictions/baselines.parquet",
        metrics=f"{RESULTS}/metrics/baselines.csv",
        bins=f"{RESULTS}/metrics/bins.csv",
    log:
        log_of("baselines"),
    benchmark:
        benchmark_of("baselines")
    conda:
        "../envs/learning.yaml"
    params:
        code=code_hash("learning"),
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Predicting by the short fit, a constant and a line in W3 and W4"
    script:
        "../scripts/baselines.py"


# Which bands matter for which property.
rule importance:
    input:
        unpack(importance_input),
    output:
        importance=report(
            f"{RESULTS}/tables/importance.csv",
            caption=caption("importance"),
            category="Paper",
            labels={"figure": "", "shows": "importance of features"},
        ),
        dependence=f"{RESULTS}/tables/partial_dependence.csv",
    log:
        log_of("importance"),
    benchmark:
        benchmark_of("importance")
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=growing(4000),
    params:
        code=code_hash("learning"),
        experiment=EXPERIMENTS[FIGURE_EXPERIMENT],
        n_bootstrap=config["learning"]["n_bootstrap"],
        seed=config["learning"]["seed"],
    message:
        "Measuring which features matter for which property"
    script:
        "../scripts/importance.py"


rule figure_importance:
    input:
        f"{RESULTS}/tables/importance.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/importance.png",
            caption=caption("figure_importance"),
            category="Paper",
            labels={"figure": "", "shows": "importance of features"},
        ),
        pdf=f"{RESULTS}/figures/paper/importance.pdf",
    log:
        log_of("figure_importance"),
    benchmark:
        benchmark_of("figure_importance")
    conda:
        "../envs/figures.yaml"
    params:
        code=code_hash("figures"),
        shows="bars",
    message:
        "Figure: which features matter"
    script:
        "../scripts/figure_importance.py"


use rule figure_importance as figure_dependence with:
    input:
        f"{RESULTS}/tables/partial_dependence.csv",
    output:
        png=report(
            f"{RESULTS}/figures/paper/partial_dependence.png",
            caption=caption("figure_dependence"),
            category="Paper",
            labels={"figure": "", "shows": "how predictions depend on features"},
        ),
        pdf=f"{RESULTS}/figures/paper/partial_dependence.pdf",
    log:
        log_of("figure_dependence"),
    benchmark:
        benchmark_of("figure_dependence")
    params:
        code=code_hash("figures"),
        shows="curves",
    message:
        "Figure: how predictions depend on features"


PAPER_FIGURES = [
    *(f"fig{number}" for number in range(1, 10)),
    *(f"figA{number}" for number in range(1, 5)),
    "importance",
    "partial_dependence",
]


rule paper:
    input:
        expand(f"{RESULTS}/figures/paper/{{figure}}.png", figure=PAPER_FIGURES),
        rules.paper_numbers.output,
        rules.compare_experiments.output,
        rules.baselines.output,
        rules.importance.output,
        expand(
            f"{RESULTS}/metrics/{{experiment}}_split_summary.csv", experiment=RESOLVED
        ),
    message:
        "The paper's figures and tables are in {RESULTS}/figures/paper and {RESULTS}/tables"
