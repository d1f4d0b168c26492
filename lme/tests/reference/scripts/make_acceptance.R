# Models of the acceptance tests, from R: Rscript make_acceptance.R out.json
# lme4 fits tightly; nlme where residual variances differ by a function.
suppressMessages({library(lme4); library(nlme); library(jsonlite)})
tight <- function(f) f(optimizer = "bobyqa", calc.derivs = FALSE,
                       optCtrl = list(rhobeg = 0.02, rhoend = 1e-10, maxfun = 50000))
linear <- function(formula, data, weights = NULL, REML = FALSE) {
  data$w.. <- if (is.null(weights)) 1 else weights
  fit <- suppressMessages(lmer(formula, data, weights = w.., REML = REML,
                               control = tight(lmerControl)))
  list(theta = unname(getME(fit, "theta")), beta = unname(fixef(fit)),
       vcov = unname(as.matrix(vcov(fit))), sigma = sigma(fit),
       loglik = as.numeric(logLik(fit)))
}
# MixedModels.jl issue 194: ten proportions with their sample sizes.
ten <- data.frame(
  a = c(1.55945122, 0.004391538, 0.005554163, -0.173029772, 4.586284429,
        0.259493671, -0.091735715, 5.546487603, 0.457734831, -0.030169602),
  b = c(0.24520519, 0.080624178, 0.228083467, 0.2471453, 0.398994279,
        0.037213859, 0.102144973, 0.241380251, 0.206570975, 0.15980803),
  c = c("H", "F", "K", "P", "P", "P", "D", "M", "I", "D"),
  w = c(20, 40, 35, 12, 29, 25, 65, 105, 30, 75))
# nlme's variance functions on Orthodont, as the weights that they amount to.
orth <- as.data.frame(Orthodont)
orth$Subject <- factor(as.character(orth$Subject))
functions <- list(fixed = varFixed(~age), ident = varIdent(form = ~1 | Sex),
                  power = varPower(form = ~age), exp = varExp(form = ~age),
                  fitted = varPower())
variance <- lapply(functions, function(v) {
  fit <- lme(distance ~ age + Sex, orth, ~ 1 | Subject, weights = v, method = "REML",
             control = lmeControl(msTol = 1e-12, tolerance = 1e-10, maxIter = 500,
                                  msMaxIter = 500))
  w <- varWeights(fit$modelStruct$varStruct)
  # In the order of the data, which lme sorts by group.
  w <- w[order(order(orth$Subject))]
  if (inherits(v, "varFixed")) w <- 1 / sqrt(orth$age)
  list(weights = w^2, beta = unname(fixef(fit)), vcov = unname(vcov(fit)),
       sigma = fit$sigma, sd = as.numeric(VarCorr(fit)[1, 2]),
       loglik = as.numeric(logLik(fit)))
})
generalized <- function(formula, data, family, nAGQ = 1, weights = NULL) {
  data$w.. <- if (is.null(weights)) 1 else weights
  fit <- glmer(formula, data, family, nAGQ = nAGQ, weights = w..,
               control = tight(glmerControl))
  list(theta = unname(getME(fit, "theta")), beta = unname(fixef(fit)),
       loglik = as.numeric(logLik(fit)))
}
load(system.file("testdata", "radinger_dat.RData", package = "lme4"))
load(system.file("testdata", "fakesim.RData", package = "lme4"))
epidemic <- dat[c("I", "S", "Inew", "R0", "trial")]
epidemic$N <- 1000
# Structures of random effects by other packages; lme4 1.1 has none.
suppressMessages(library(glmmTMB))
sleepstudy$f <- factor(sleepstudy$Days)
Contraception <- mlmRev::Contraception
by_tmb <- function(formula, data = sleepstudy, family = gaussian(), REML = FALSE) {
  fit <- glmmTMB(formula, data, family = family, REML = REML)
  V <- VarCorr(fit)$cond[[1]]
  list(formula = deparse1(formula), REML = REML, loglik = as.numeric(logLik(fit)),
       vcov = unname(vcov(fit)$cond), sd = unname(attr(V, "stddev")),
       cor = unname(attr(V, "correlation")[, 1]), sigma = sigma(fit))
}
tmb <- list(us = by_tmb(Reaction ~ Days + us(Days | Subject)),
            cs = by_tmb(Reaction ~ Days + cs(Days | Subject)),
            diag = by_tmb(Reaction ~ Days + diag(Days | Subject)),
            contra_us = by_tmb(use ~ age + urban + us(1 + urban | district),
                               Contraception, binomial()),
            contra_cs = by_tmb(use ~ age + urban + cs(1 + urban | district),
                               Contraception, binomial()),
            contra_diag = by_tmb(use ~ age + urban + diag(1 + urban | district),
                                 Contraception, binomial()))
by_nlme <- function(REML) {
  fit <- lme(Reaction ~ Days, sleepstudy, ~ Days | Subject,
             method = if (REML) "REML" else "ML",
             control = lmeControl(msTol = 1e-12, tolerance = 1e-10))
  list(formula = "Reaction ~ Days + us(Days | Subject)", REML = REML,
       loglik = as.numeric(logLik(fit)), vcov = unname(vcov(fit)),
       sd = as.numeric(VarCorr(fit)[1:2, 2]),
       cor = c(1, as.numeric(VarCorr(fit)[2, 3])), sigma = fit$sigma)
}
# An autoregression and independent errors: exponential correlations with a nugget.
by_gls <- function() {
  fit <- gls(Reaction ~ Days, sleepstudy, method = "REML",
             correlation = corExp(c(5, 0.1), form = ~ Days | Subject, nugget = TRUE),
             control = glsControl(msTol = 1e-12, tolerance = 1e-12))
  p <- coef(fit$modelStruct$corStruct, unconstrained = FALSE)
  list(formula = "Reaction ~ Days + ar1(0 + f | Subject)", REML = TRUE,
       loglik = as.numeric(logLik(fit)), vcov = unname(vcov(fit)),
       sd = rep(fit$sigma * sqrt(1 - p[["nugget"]]), 10),
       cor = exp(-(0:9) / p[["range"]]), sigma = fit$sigma * sqrt(p[["nugget"]]))
}
# Data of lme4's tests that are drawn at random.
set.seed(101)
filled <- data.frame(resp = runif(100), var1 = factor(sample(1:5, 100, TRUE)),
                     var2 = runif(100), var3 = factor(sample(1:5, 100, TRUE)))
set.seed(101)
partial <- rnorm(200)
wonky <- local({
  set.seed(102)
  x <- rnorm(50); z <- rnorm(10)
  u <- MASS::mvrnorm(10, mu = c(0, 0), Sigma = diag(1 / 18, 2))
  g <- rep(1:10, each = 5)
  noise <- rnorm(50, 0, sqrt(0.5))
  data.frame(Y = (1 + 0.3 * z + u[, 1])[g] + (0.3 + 0.3 * z + u[, 2])[g] * x + noise,
             X = x, Z = z[g], group = g)
})
load(system.file("testdata", "gotway_hessianfly.rda", package = "lme4"))
data(Mmmec, package = "mlmRev")
Mmmec$uvb <- as.numeric(Mmmec$uvb)
write_json(list(
  ten = list(data = as.list(ten), plain = linear(a ~ b + (1 | c), ten),
             weighted = linear(a ~ b + (1 | c), ten, ten$w)),
  orthodont = list(data = as.list(orth), functions = variance),
  radinger = list(
    data = as.list(radinger_dat),
    fit = generalized(presabs ~ predictor + (1 | species), radinger_dat, binomial)),
  mmec = list(
    data = as.list(Mmmec[c("deaths", "expected", "uvb", "region")]),
    fit = generalized(deaths ~ uvb + offset(log(expected)) + (1 | region), Mmmec,
                      poisson, nAGQ = 11)),
  # Without starts of the user's lme4 fails here; its own tests have the answer.
  epidemic = as.list(epidemic),
  oxide = as.list(transform(as.data.frame(Oxide)[c("Thickness", "Lot", "Wafer", "Source")],
                            Lot = as.integer(as.character(Lot)),
                            Wafer = as.integer(as.character(Wafer)))),
  structures = c(tmb, list(ar1 = by_gls(), nlme = by_nlme(FALSE),
                               nlme_reml = by_nlme(TRUE))),
  filled = as.list(transform(filled, var1 = as.character(var1),
                             var3 = as.character(var3))),
  partial = partial, wonky = as.list(wonky),
  hessianfly = as.list(transform(gotway.hessianfly[c("y", "n", "gen", "block")],
                                 gen = as.character(gen), block = as.character(block))),
  iris = as.list(setNames(iris[c(1, 4, 5)], c("length", "width", "species")))
), commandArgs(TRUE)[1], digits = 12, auto_unbox = TRUE)
