# Quantiles of null distributions by RLRsim, and conditional AICs by cAIC4.
# Usage: Rscript make_comparison.R OUTPUT.json
suppressMessages({library(lme4); library(RLRsim); library(cAIC4); library(jsonlite)})
at <- c(.5, .8, .9, .95, .99)
set.seed(1)
parts <- function(m) list(X = getME(m, "X"), Z = t(as.matrix(getME(m, "Zt"))))
summarised <- function(s) list(positive = mean(s > 1e-8), quantiles = unname(quantile(s, at)))
models <- list(
  dyestuff = lmer(Yield ~ 1 + (1 | Batch), Dyestuff),
  sleep_int = lmer(Reaction ~ Days + (1 | Subject), sleepstudy),
  pastes_sample = lmer(strength ~ 1 + (1 | sample), Pastes),
  sleep_slope = lmer(Reaction ~ Days + (0 + Days | Subject), sleepstudy))
out <- list(levels = at, draws = 200000)
for (n in names(models)) {
  p <- parts(models[[n]]); I <- diag(ncol(p$Z))
  out$null[[n]] <- list(
    rlrt = summarised(RLRTSim(p$X, p$Z, qr(p$X), I, nsim = 200000)),
    lrt = summarised(LRTSim(p$X, p$Z, 0, I, nsim = 200000)),
    lrt1 = summarised(LRTSim(p$X, p$Z, 1, I, nsim = 200000)))
}
both <- lmer(strength ~ 1 + (1 | batch) + (1 | sample), Pastes)
r <- exactRLRT(lmer(strength ~ 1 + (1 | batch), Pastes), both, models$pastes_sample, nsim = 200000)
out$pastes_batch <- list(statistic = unname(r$statistic), p = unname(r$p.value))
out$dyestuff_p <- exactRLRT(models$dyestuff, nsim = 200000)$p.value
for (n in c("dyestuff", "sleep_int")) {
  found <- cAIC(models[[n]])
  out$caic[[n]] <- list(loglik = found$loglikelihood, df = found$df)
}
write(toJSON(out, digits = 8, auto_unbox = TRUE), commandArgs(TRUE)[1])
