# Profile intervals of models with three correlated columns, by lme4: prints JSON.
# Rscript make_profiles.R > machines.json  (lme4 1.1-31, R 4.2.2; half a minute)
suppressMessages(library(lme4))
fit <- lmer(score ~ Machine + (Machine | Worker), nlme::Machines, REML = FALSE,
            control = lmerControl(optimizer = "bobyqa",
                                  optCtrl = list(rhoend = 1e-9)))
found <- suppressWarnings(suppressMessages(confint(fit, oldNames = FALSE)))
rows <- sprintf('"%s": [%s, %s]', rownames(found),
                formatC(found[, 1], digits = 10, format = "g"),
                formatC(found[, 2], digits = 10, format = "g"))
cat("{", paste(rows, collapse = ", "), "}\n")
