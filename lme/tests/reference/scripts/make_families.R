# Generalized linear models and links in R: Rscript make_families.R out.json
# Responses and the predictor are rounded, so that the file holds what was fitted.
suppressMessages({library(statmod); library(MASS)})
set.seed(20)
n <- 30
x <- round(seq(-1, 1, length.out = n) + rnorm(n, sd = 0.1), 3)
trials <- sample(1:12, n, TRUE)
cases <- list()

one <- function(id, name, family, y, weights = rep(1, n), start = NULL, theta = NULL) {
  fit <- suppressWarnings(glm(y ~ x, family, weights = weights, start = start,
    control = glm.control(epsilon = 1e-15, maxit = 200)))
  stopifnot(fit$converged)
  cases[[id]] <<- list(
    family = name, link = fit$family$link, theta = if (is.null(theta)) NA else theta, x = x, y = y,
    weights = weights, coef = unname(coef(fit)), eta = unname(fit$linear.predictors),
    mu = unname(fitted(fit)), deviance = deviance(fit), loglik = as.numeric(logLik(fit)),
    deviance_residuals = unname(residuals(fit, "deviance")),
    pearson_residuals = unname(residuals(fit, "pearson")),
    working_weights = unname(fit$weights))
}
binary <- rbinom(n, 1, plogis(0.3 + x))
share <- rbinom(n, trials, plogis(-0.5 + x)) / trials
share[1:2] <- c(0, 1)
for (link in c("logit", "probit", "cloglog", "cauchit"))
  one(paste0("bernoulli_", link), "bernoulli", binomial(link), binary)
for (link in c("logit", "probit", "cloglog", "cauchit"))
  one(paste0("binomial_", link), "binomial", binomial(link), share, trials)
rare <- rbinom(n, 20, exp(-1.5 + 0.5 * x)) / 20
one("binomial_log", "binomial", binomial("log"), rare, rep(20, n), start = c(-1.5, 0.4))
counts <- rpois(n, exp(1 + 0.7 * x)); counts[5] <- 0
one("poisson_log", "poisson", poisson("log"), counts)
one("poisson_weights", "poisson", poisson("log"), counts, trials)
one("poisson_sqrt", "poisson", poisson("sqrt"), counts)
one("poisson_identity", "poisson", poisson("identity"), counts, start = c(3, 1))
positive <- round(rgamma(n, 3, scale = exp(1 + 0.3 * x) / 3), 3)
for (link in c("inverse", "log", "identity"))
  one(paste0("gamma_", link), "gamma", Gamma(link), positive)
skewed <- round(rinvgauss(n, exp(0.5 + 0.3 * x), 4), 3)
for (link in c("1/mu^2", "inverse", "log", "identity"))
  one(paste0("inverse_gaussian_", link), "inverse_gaussian", inverse.gaussian(link),
      skewed)
normal <- round(exp(1 + 0.4 * x) + rnorm(n, sd = 0.4), 3)
one("gaussian_identity", "gaussian", gaussian(), normal)
one("gaussian_weights", "gaussian", gaussian(), normal, trials)
one("gaussian_log", "gaussian", gaussian("log"), normal, start = c(1, 0.4))
one("gaussian_inverse", "gaussian", gaussian("inverse"), normal, start = c(0.4, -0.1))
clumped <- rnbinom(n, mu = exp(1 + 0.5 * x), size = 1.5)
for (link in c("log", "sqrt", "identity"))
  one(paste0("negative_binomial_", link), "negative_binomial",
      negative.binomial(1.5, link), clumped, theta = 1.5,
      start = list(log = NULL, sqrt = c(1.6, 0.5), identity = c(3, 1))[[link]])
free <- glm.nb(clumped ~ x, control = glm.control(epsilon = 1e-14, maxit = 200))

grid <- c(-30, -3, -1, -0.2, 0, 0.1, 0.7, 2, 5)
links <- lapply(c(logit = "logit", probit = "probit", cloglog = "cloglog",
                  cauchit = "cauchit", log = "log", identity = "identity",
                  inverse = "inverse", sqrt = "sqrt", inverse_squared = "1/mu^2"),
  function(name) {
    link <- make.link(name)
    eta <- if (name %in% c("inverse", "sqrt", "1/mu^2")) grid[grid > 0] else grid
    # R keeps mu and d mu/d eta above the machine epsilon; those points are left out.
    eta <- eta[link$mu.eta(eta) != .Machine$double.eps]
    list(eta = eta, mu = link$linkinv(eta), first = link$mu.eta(eta))
  })
out <- list(
  made_with = R.version.string, glm = cases, links = links,
  glm_nb = list(x = x, y = clumped, coef = unname(coef(free)), theta = free$theta,
                loglik = as.numeric(logLik(free))))
# jsonlite writes 15 digits; a double needs 17 to come back as itself.
json <- function(v) {
  if (is.list(v)) {
    body <- paste0('"', names(v), '": ', vapply(v, json, ""), collapse = ",\n")
    return(paste0("{", body, "}"))
  }
  if (length(v) == 1 && is.na(v)) return("null")
  if (is.character(v)) return(paste0('"', v, '"'))
  digits <- ifelse(v == as.numeric(sprintf("%.15g", v)), "%.15g", "%.17g")
  text <- mapply(sprintf, digits, v)
  if (length(v) == 1) text else paste0("[", paste(text, collapse = ", "), "]")
}
writeLines(json(out), commandArgs(TRUE)[1])
