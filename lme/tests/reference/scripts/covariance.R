# Fits with structured covariances by glmmTMB 1.1.5: writes /tmp/r/cov.json, of which
# lme/tests/reference/covariance/glmmtmb.json keeps logLik, df, sd and first correlations.
suppressMessages({library(glmmTMB); library(jsonlite); library(lme4); library(nlme)})
out <- list()
add <- function(...) tryCatch(add1(...), error=function(e) cat("FAIL", conditionMessage(e), "\n"))
add1 <- function(id, formula, data, family=gaussian(), REML=FALSE) {
  m <- suppressWarnings(glmmTMB(as.formula(formula), data=data, family=family, REML=REML, control=glmmTMBControl(optCtrl=list(iter.max=2000, eval.max=2000,rel.tol=1e-14,x.tol=1e-10))))
  v <- VarCorr(m)$cond
  out[[id]] <<- list(formula=formula, REML=REML, ll=as.numeric(logLik(m)), df=attr(logLik(m),"df"), beta=unname(fixef(m)$cond), sd=lapply(v, function(x) unname(attr(x,"stddev"))), cor=lapply(v, function(x) unname(attr(x,"correlation")[,1])), sigma=sigma(m), conv=m$fit$convergence, pd=m$sdr$pdHess)
}
data(Orthodont, package="nlme"); O <- as.data.frame(Orthodont); O$Subject <- factor(as.character(O$Subject)); O$f <- factor(O$age)
data(Machines, package="nlme"); M <- as.data.frame(Machines); M$Worker <- factor(as.character(M$Worker))
add("orth_cs", "distance ~ age + cs(0 + f | Subject)", O)
add("orth_ar1", "distance ~ age * Sex + ar1(0 + f | Subject)", O, REML=TRUE)
add("mach_toep", "score ~ Machine + toep(0 + Machine | Worker)", M)
cb <- cbpp
add("cbpp_ar1", "cbind(incidence, size-incidence) ~ 1 + ar1(0 + period | herd)", cb, binomial())
cat(toJSON(out, digits=12, auto_unbox=TRUE), file="/tmp/r/cov.json")
print(sapply(out, function(o) c(o$ll, o$conv)))
