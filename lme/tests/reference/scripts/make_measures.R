# Collinearity, cluster-robust covariances and within-group fits by R.
#
# Usage: Rscript make_measures.R OUT.json
# Made with R 4.2.2, lme4 1.1-31, clubSandwich 0.5.8, car 3.1-1.
suppressMessages({
  library(lme4); library(clubSandwich); library(car); library(jsonlite)
})
data(Orthodont, Machines, package = "nlme")
data(oats, package = "MASS")
data(ScotsSec, package = "mlmRev")
data(Contraception, package = "mlmRev")
# Order of the levels would make polynomial contrasts and nothing else.
Orthodont <- as.data.frame(Orthodont)
Orthodont$Subject <- factor(as.character(Orthodont$Subject))
Machines <- as.data.frame(Machines)
Machines$Worker <- factor(as.character(Machines$Worker))

control <- lmerControl(
  optimizer = "nloptwrap", calc.derivs = FALSE,
  optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-14, xtol_rel = 0, ftol_rel = 0,
                 maxeval = 20000)
)
uneven <- sleepstudy[-c(3, 5, 21, 22, 23, 24, 25, 26, 27, 90, 151:158), ]
pairs <- ceiling(as.integer(uneven$Subject) / 3)

types <- c("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")
robust <- function(data, formula, cluster = NULL, REML = TRUE, rows = NULL) {
  m <- lmer(formula, data, REML = REML, control = control)
  cl <- if (is.null(cluster)) NULL else cluster
  get <- function(type) {
    if (is.null(cl)) vcovCR(m, type = type) else vcovCR(m, cluster = cl, type = type)
  }
  p <- length(fixef(m))
  out <- list(formula = paste(deparse(formula), collapse = " "), theta = getME(m, "theta"))
  for (type in types) {
    V <- try(get(type), silent = TRUE)
    if (inherits(V, "try-error")) next
    test <- coef_test(m, vcov = V, test = "Satterthwaite")
    out[[type]] <- list(vcov = unname(as.matrix(V)), df = test$df_Satt)
    if (p > 1) {
      L <- diag(p)[-1, , drop = FALSE]
      W <- try(Wald_test(m, constraints = L, vcov = V, test = "HTZ"), silent = TRUE)
      if (inherits(W, "try-error")) next
      out[[type]]$htz <- c(W$Fstat, W$df_num, W$df_denom)
    }
  }
  out
}

scots <- ScotsSec
sandwich <- list(
  sleep_full = robust(sleepstudy, Reaction ~ Days + (Days | Subject)),
  sleep_ml = robust(sleepstudy, Reaction ~ Days + (1 | Subject), REML = FALSE),
  sleep_uneven = robust(uneven, Reaction ~ Days + (Days | Subject)),
  sleep_pairs = robust(uneven, Reaction ~ Days + (Days | Subject), cluster = pairs),
  orthodont = robust(Orthodont, distance ~ age * Sex + (age | Subject)),
  machines = robust(Machines, score ~ Machine + (1 | Worker) + (1 | Worker:Machine)),
  oats = robust(oats, Y ~ N + V + (1 | B) + (1 | B:V)),
  scots = robust(scots, attain ~ verbal + sex + (1 | second))
)

plain <- function(m) {
  v <- vif(m)
  if (is.matrix(v)) list(terms = rownames(v), table = unname(v)) else
    list(terms = names(v), table = unname(v))
}
collinearity <- list(
  sleep_quad = plain(lmer(Reaction ~ Days + I(Days^2) + (1 | Subject), sleepstudy,
                          control = control)),
  scots = plain(suppressMessages(
    lmer(attain ~ verbal * sex + social + (1 | primary) + (1 | second), scots,
         control = control))),
  oats = plain(lmer(Y ~ N + V + (1 | B) + (1 | B:V), oats, control = control)),
  contraception = plain(glmer(
    use ~ age + I(age^2) + urban + livch + (1 | district), Contraception, binomial,
    control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10,
                           optCtrl = list(rhoend = 1e-8))))
)

within <- function(fit) {
  list(coef = unname(as.matrix(coef(fit))), groups = rownames(coef(fit)))
}
poly2 <- lmList(Reaction ~ Days | Subject, sleepstudy)
weighted <- sleepstudy
weighted$w <- rep(c(1, 2, 0.5, 3, 1.5), 36)
weighted$o <- rep(1:10, 18)
wls <- lmList(Reaction ~ Days + offset(o) | Subject, weighted, weights = w)
orthodont <- lmList(distance ~ age | Subject, Orthodont)
cb <- suppressWarnings(lmList(cbind(incidence, size - incidence) ~ period | herd,
                              cbpp, family = binomial))
groups <- list(
  sleep = c(within(poly2), list(
    RSE = summary(poly2)$RSE, df = summary(poly2)$df.residual,
    se = unname(summary(poly2)$coefficients[, 2, ]),
    own = unname(t(apply(confint(poly2), 3, c)))
  )),
  weighted = c(within(wls), list(RSE = summary(wls)$RSE)),
  orthodont = c(within(orthodont), list(RSE = summary(orthodont)$RSE)),
  cbpp = within(cb)
)
nlme_fit <- nlme::lmList(Reaction ~ Days | Subject, sleepstudy)
iv <- nlme::intervals(nlme_fit, pool = TRUE)
groups$sleep$pooled_intervals <- list(
  intercept = unname(iv[, , "(Intercept)"]), slope = unname(iv[, , "Days"]),
  groups = dimnames(iv)[[1]]
)
write_json(list(sandwich = sandwich, vif = collinearity, within = groups,
                uneven_rows = as.integer(rownames(uneven)), pairs = pairs),
           commandArgs(TRUE)[1], digits = 15, auto_unbox = TRUE, na = "null")
