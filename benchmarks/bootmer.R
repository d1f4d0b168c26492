# Milliseconds a replicate of lme4's bootMer: Rscript bootmer.R name [replicates]
suppressMessages(library(lme4))
args <- commandArgs(trailingOnly = TRUE)
cases <- list(
  dyestuff = quote(lmer(Yield ~ 1 + (1 | Batch), Dyestuff, REML = FALSE)),
  sleepstudy = quote(lmer(Reaction ~ Days + (Days | Subject), sleepstudy)),
  penicillin = quote(lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin)),
  pastes = quote(lmer(strength ~ 1 + (1 | batch / cask), Pastes)),
  machines = quote(lmer(score ~ Machine + (Machine | Worker), nlme::Machines)),
  cbpp = quote(glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp,
                     family = binomial)),
  insteval = quote(lmer(y ~ service + (1 | s) + (1 | d) + (1 | dept), InstEval)))
n <- if (length(args) > 1) as.integer(args[2]) else 100L
model <- suppressWarnings(eval(cases[[args[1]]]))
statistic <- function(fit) c(fixef(fit), getME(fit, "theta"), sigma(fit))
seconds <- system.time(suppressMessages(suppressWarnings(
  bootMer(model, statistic, nsim = n, seed = 1))))[["elapsed"]]
cat(1000 * seconds / n, "\n")
