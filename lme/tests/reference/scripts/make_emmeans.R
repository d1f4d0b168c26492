# Marginal means of unbalanced designs, by emmeans 1.8.4 (R 4.2.2):
#   Rscript make_emmeans.R out.json
# Each entry has the model, the question as the package asks it, and the answer.
suppressMessages({
  library(lme4); library(lmerTest); library(emmeans); library(jsonlite); library(splines)
})
set.seed(4)
n <- 120
d <- data.frame(
  g = factor(rep(1:12, 10)),
  a = factor(sample(c("p", "q", "r"), n, TRUE, c(.5, .3, .2))),
  b = factor(sample(c("u", "v"), n, TRUE, c(.7, .3))),
  x = round(rnorm(n), 2), z = sample(c(0, 1), n, TRUE, c(.8, .2)),
  l = sample(c(TRUE, FALSE), n, TRUE, c(.7, .3)), k = sample(1:4, n, TRUE),
  t = round(runif(n, 1, 5), 2), w = sample(1:3, n, TRUE),
  dose = ordered(sample(c("low", "mid", "high"), n, TRUE), levels = c("low", "mid", "high"))
)
d$y <- round(rnorm(n) + as.integer(d$a) + d$x + rnorm(12)[d$g], 3)
d$pos <- round(exp(.3 * d$y), 4)
d$n <- rpois(n, exp(.3 * as.integer(d$a) + log(d$t) + .4 * rnorm(12)[d$g]))
d$s <- rbinom(n, 1, plogis(.5 * d$y - 1))
empty <- subset(d, !(a == "r" & b == "v"))

models <- list(
  full = list(formula = "y ~ a * b + x + z + l + (1 | g)", frame = "d"),
  weighted = list(formula = "y ~ a + factor(k) + x + I(x^2) + (1 | g)", frame = "d", weights = "w"),
  ordered = list(formula = "y ~ dose * x + b + (x || g)", frame = "d"),
  spline = list(formula = "y ~ ns(x, 3) * a + (1 | g)", frame = "d"),
  poly = list(formula = "y ~ poly(x, 2) * b + log(t) + (1 | g)", frame = "d"),
  log = list(formula = "log(pos) ~ a + x + (1 | g)", frame = "d"),
  sqrt = list(formula = "sqrt(pos) ~ a + (1 | g)", frame = "d"),
  log10 = list(formula = "log10(pos) ~ a + (1 | g)", frame = "d"),
  empty = list(formula = "y ~ a * b + x + (1 | g)", frame = "empty"),
  offset = list(formula = "n ~ a + x + offset(log(t)) + (1 | g)", frame = "d", family = "poisson"),
  logit = list(formula = "s ~ a * x + b + (1 | g)", frame = "d", family = "binomial"),
  probit = list(formula = "s ~ a + x + (1 | g)", frame = "d", family = "binomial", link = "probit"),
  cloglog = list(formula = "s ~ a + x + (1 | g)", frame = "d", family = "binomial", link = "cloglog")
)
fits <- lapply(models, function(m) {
  frame <- get(m$frame); f <- as.formula(m$formula)
  if (!is.null(m$family)) {
    fam <- get(m$family)(link = if (is.null(m$link)) get(m$family)()$link else m$link)
    eval(bquote(glmer(.(f), frame, family = fam,
      control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10,
        optCtrl = list(rhoend = 1e-9)))))
  } else if (!is.null(m$weights)) {
    eval(bquote(lmer(.(f), frame, weights = w, control = lmerControl(optimizer = "bobyqa",
      optCtrl = list(rhoend = 1e-9)))))
  } else {
    eval(bquote(lmer(.(f), frame, control = lmerControl(optimizer = "bobyqa",
      optCtrl = list(rhoend = 1e-9)))))
  }
})

cases <- list()
keep <- function(model, ask, object) {
  s <- suppressMessages(summary(object, infer = c(TRUE, TRUE)))
  e <- attr(s, "estName"); ci <- attr(s, "clNames"); s <- as.data.frame(s)
  stat <- grep("ratio$", names(s), value = TRUE)
  stat <- setdiff(stat, c(e))
  out <- list(model = model, ask = ask, estimate = I(s[[e]]), se = I(s$SE), df = I(s$df),
    lower = I(s[[ci[1]]]), upper = I(s[[ci[2]]]), t = I(s[[stat[length(stat)]]]),
    p = I(s$p.value))
  if (!is.null(s$contrast)) out$labels <- I(as.character(s$contrast))
  cases[[length(cases) + 1]] <<- out
}
D <- c(satterthwaite = "satterthwaite", `kenward-roger` = "kenward-roger", z = "asymptotic")
means <- function(model, specs, ..., ddf = "satterthwaite", type = "link") {
  emmeans(fits[[model]], specs, ..., type = type, lmer.df = D[[ddf]])
}
for (w in c("equal", "proportional", "outer", "cells", "flat")) {
  keep("full", list(specs = "a", weights = w), means("full", "a", weights = w))
  keep("empty", list(specs = "a", weights = w), means("empty", "a", weights = w))
}
keep("full", list(specs = c("a", "b")), means("full", c("a", "b")))
keep("full", list(specs = "~ b | a", at = list(x = 1)), means("full", ~ b | a, at = list(x = 1)))
keep("full", list(specs = "a", at = list(b = "u", z = 1)),
  means("full", "a", at = list(b = "u", z = 1)))
keep("full", list(specs = "z"), means("full", "z"))
keep("full", list(specs = "l", ddf = "kenward-roger"), means("full", "l", ddf = "kenward-roger"))
keep("full", list(specs = "~ 1"), means("full", ~ 1))
e <- means("full", "a")
for (adjust in c("tukey", "sidak", "bonferroni", "holm", "hochberg", "fdr", "none", "scheffe",
    "dunnettx")) {
  keep("full", list(specs = "a", contrast = "pairwise", adjust = adjust),
    contrast(e, "pairwise", adjust = adjust))
  keep("full", list(specs = "~ a | b", contrast = "eff", adjust = adjust),
    contrast(means("full", ~ a | b), "eff", adjust = adjust))
}
for (method in c("pairwise", "revpairwise", "trt.vs.ctrl", "trt.vs.ctrlk", "eff", "del.eff",
    "poly", "identity")) {
  keep("full", list(specs = c("a", "b"), contrast = method, ddf = "kenward-roger"),
    contrast(means("full", c("a", "b"), ddf = "kenward-roger"), method))
}
for (method in c("consec", "mean_chg")) {
  keep("full", list(specs = c("a", "b"), contrast = method, adjust = "none"),
    contrast(means("full", c("a", "b")), method, adjust = "none"))
}
keep("full", list(specs = "a", contrast = "trt.vs.ctrl", ref = 1),
  contrast(e, "trt.vs.ctrl", ref = 2))
keep("full", list(specs = "a", contrast = "pairwise", reverse = TRUE),
  pairs(e, reverse = TRUE))
keep("full", list(specs = "a", contrast = list(A = c(1, -1, 0), B = c(.5, .5, -1))),
  contrast(e, list(A = c(1, -1, 0), B = c(.5, .5, -1))))
keep("weighted", list(specs = "a", weights = "proportional"),
  means("weighted", "a", weights = "proportional"))
keep("weighted", list(specs = "k", at = list(x = c(-1, 1))),
  means("weighted", "k", at = list(x = c(-1, 1))))
for (ddf in c("satterthwaite", "kenward-roger")) {
  keep("ordered", list(specs = "dose", ddf = ddf), means("ordered", "dose", ddf = ddf))
  keep("ordered", list(specs = "dose", contrast = "poly", ddf = ddf),
    contrast(means("ordered", "dose", ddf = ddf), "poly"))
  keep("spline", list(specs = "~ a | x", at = list(x = c(-1, 0, 1)), ddf = ddf),
    means("spline", ~ a | x, at = list(x = c(-1, 0, 1)), ddf = ddf))
  keep("poly", list(specs = "b", ddf = ddf), means("poly", "b", ddf = ddf))
  keep("empty", list(specs = c("a", "b"), ddf = ddf), means("empty", c("a", "b"), ddf = ddf))
  keep("empty", list(specs = "~ a | b", contrast = "pairwise", ddf = ddf),
    pairs(means("empty", ~ a | b, ddf = ddf)))
}
for (m in c("log", "sqrt", "log10")) {
  for (type in c("link", "response")) {
    keep(m, list(specs = "a", type = type), means(m, "a", type = type))
    keep(m, list(specs = "a", type = type, contrast = "pairwise"),
      pairs(means(m, "a", type = type)))
  }
}
for (m in c("offset", "logit", "probit", "cloglog")) {
  for (type in c("link", "response")) {
    keep(m, list(specs = "a", type = type), means(m, "a", type = type))
    keep(m, list(specs = "a", type = type, contrast = "pairwise"),
      pairs(means(m, "a", type = type)))
    keep(m, list(specs = "a", type = type, contrast = "eff"),
      contrast(means(m, "a", type = type), "eff"))
  }
  keep(m, list(specs = "a", regrid = TRUE), regrid(means(m, "a")))
  keep(m, list(specs = "a", regrid = TRUE, contrast = "pairwise"), pairs(regrid(means(m, "a"))))
}
keep("offset", list(specs = "a", offset = 0, type = "response"),
  means("offset", "a", offset = 0, type = "response"))
trends <- function(model, specs, var, ..., ddf = "satterthwaite") {
  emtrends(fits[[model]], specs, var = var, ..., lmer.df = D[[ddf]],
    delta.var = 1e-6 * diff(range(d[[var]])))
}
for (ddf in c("satterthwaite", "kenward-roger")) {
  keep("ordered", list(trend = "x", specs = "dose", ddf = ddf), trends("ordered", "dose", "x", ddf = ddf))
  keep("ordered", list(trend = "x", specs = "dose", contrast = "pairwise", ddf = ddf),
    pairs(trends("ordered", "dose", "x", ddf = ddf)))
}
keep("spline", list(trend = "x", specs = "a"), trends("spline", "a", "x"))
keep("poly", list(trend = "x", specs = "~ b | x", at = list(x = c(-1, .5))),
  trends("poly", ~ b | x, "x", at = list(x = c(-1, .5))))
keep("poly", list(trend = "t", specs = "~ 1"), trends("poly", ~ 1, "t"))
keep("logit", list(trend = "x", specs = "a"), trends("logit", "a", "x"))
keep("logit", list(trend = "x", specs = "a", type = "response"),
  trends("logit", "a", "x", regrid = "response"))

data <- c(lapply(d, function(v) if (is.factor(v)) as.character(v) else v))
out <- list(data = data, models = models, cases = cases, versions = list(
  R = R.version.string, emmeans = as.character(packageVersion("emmeans")),
  pbkrtest = as.character(packageVersion("pbkrtest"))))
writeLines(toJSON(out, digits = 10, auto_unbox = TRUE, na = "null", null = "null"),
  commandArgs(TRUE)[1])
