# Fits near the edge of the parameter space, from R: Rscript make_boundary.R out.json
# Data sets that come with lme4 are rounded, so that the file holds what was fitted.
suppressMessages({library(lme4); library(jsonlite)})
tight <- lmerControl(optimizer = "bobyqa", calc.derivs = FALSE,
                     optCtrl = list(rhobeg = 0.1, rhoend = 1e-10, maxfun = 20000))
one <- function(formula, data) {
  fit <- lmer(formula, data, control = tight)
  list(formula = paste(deparse(formula), collapse = " "), data = as.list(data),
       theta = unname(getME(fit, "theta")), objective = REMLcrit(fit),
       beta = unname(fixef(fit)), sigma = sigma(fit))
}
env <- new.env()
source(system.file("testdata", "koller-data.R", package = "lme4"), local = env)
koller <- env$getData(13)[c("Var2", "y")]
koller$y <- round(koller$y, 3)
gauge <- read.csv(system.file("testdata", "dat20101314.csv", package = "lme4"))
gauge <- gauge[c("Operator", "Part", "y")]
set.seed(666)
means <- rnorm(3, 0, 0.15)
small <- data.frame(y = round(c(sapply(means, function(m) rnorm(8, m, 0.15))), 4),
                    group = gl(3, 8))
set.seed(1)
few <- data.frame(x = round(runif(120), 3), fac = gl(2, 60))
few$y <- round(3 + 2 * few$x + c(-4, 5)[few$fac] + rnorm(120), 3)
set.seed(5)
edge <- data.frame(x = round(rnorm(60), 3), f = gl(6, 10))
edge$y <- round(1 + edge$x + rnorm(60, sd = 5), 3)
write_json(list(
  koller = one(y ~ 1 + (1 | Var2), koller),
  gauge = one(y ~ 1 + (1 | Operator) + (1 | Part) + (1 | Part:Operator), gauge),
  small = one(y ~ 1 + (1 | group), small),
  few = one(y ~ x + (1 | fac), few),
  edge = one(y ~ x + (1 | f), edge)
), commandArgs(TRUE)[1], digits = 15, auto_unbox = TRUE)
