# Seconds of lme4's profile() of all parameters: Rscript profile.R name
suppressMessages(library(lme4))
args <- commandArgs(trailingOnly = TRUE)
cases <- list(
  dyestuff = quote(lmer(Yield ~ 1 + (1 | Batch), Dyestuff)),
  sleepstudy = quote(lmer(Reaction ~ Days + (Days | Subject), sleepstudy)),
  penicillin = quote(lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin)),
  pastes = quote(lmer(strength ~ 1 + (1 | sample) + (1 | batch), Pastes)),
  machines = quote(lmer(score ~ Machine + (Machine | Worker), nlme::Machines)),
  cbpp = quote(glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp,
                     family = binomial)))
model <- suppressWarnings(eval(cases[[args[1]]]))
seconds <- system.time(found <- suppressMessages(suppressWarnings(
  profile(model, signames = FALSE))))
cat(nrow(found), max(abs(found[[".zeta"]])), sum(seconds[c("user.self", "sys.self")]))
