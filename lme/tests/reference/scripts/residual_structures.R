# Fits with residual structures by nlme: writes residual/nlme.json beside this folder,
# and the data sets Ovary, Dialyzer and BodyWeight of nlme as text.
# Rscript residual_structures.R      (R 4.2.2, nlme 3.1-162, jsonlite)
suppressMessages({library(nlme); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE)))
target <- file.path(here, "..", "residual")
ctl <- lmeControl(opt = "nlminb", msTol = 1e-11, tolerance = 1e-10, msMaxIter = 500,
                  maxIter = 500, niterEM = 50, msMaxEval = 2000)
gctl <- glsControl(tolerance = 1e-10, msTol = 1e-11, msMaxIter = 500, maxIter = 500)
plain <- function(d) {
  d <- as.data.frame(d)
  for (v in names(d)) if (is.factor(d[[v]])) d[[v]] <- factor(as.character(d[[v]]), levels = levels(d[[v]]), ordered = FALSE)
  d
}
O <- plain(Orthodont)
V <- plain(Ovary)
D <- plain(Dialyzer)
B <- plain(BodyWeight)
for (id in c("Ovary", "Dialyzer", "BodyWeight")) {
  con <- gzfile(file.path(target, paste0(id, ".csv.gz")), "w")
  write.csv(format(list(Ovary = V, Dialyzer = D, BodyWeight = B)[[id]], digits = 15, trim = TRUE), con,
            row.names = FALSE, quote = FALSE)
  close(con)
}
out <- list()
add <- function(id, data, formula, residual, fixed, random, ...) {
  for (method in c("REML", "ML")) {
    m <- if (is.null(random)) gls(fixed, data, method = method, control = gctl, ...)
         else lme(fixed, data, random, method = method, control = ctl, ...)
    s <- m$modelStruct
    phi <- c(if (!is.null(s$corStruct)) coef(s$corStruct, unconstrained = FALSE),
             if (!is.null(s$varStruct)) coef(s$varStruct, unconstrained = FALSE))
    one <- list(data = deparse(substitute(data)), formula = formula, residual = residual,
                REML = method == "REML", logLik = as.numeric(logLik(m)),
                df = attr(logLik(m), "df"), AIC = AIC(m), sigma = m$sigma,
                phi = as.numeric(phi), names = names(phi))
    if (is.null(random)) {
      one$beta <- unname(coef(m)); one$se <- unname(sqrt(diag(m$varBeta)))
    } else {
      one$beta <- unname(fixef(m)); one$se <- unname(sqrt(diag(m$varFix)))
      v <- pdMatrix(s$reStruct[[1]]) * m$sigma^2
      one$sd <- unname(sqrt(diag(v)))
      one$ranef <- head(unname(ranef(m)[order(rownames(ranef(m))), 1]), 4)
      one$pearson <- head(unname(as.numeric(residuals(m, type = "pearson"))), 5)
      one$normalized <- head(unname(as.numeric(residuals(m, type = "normalized"))), 5)
      one$fitted <- head(unname(as.numeric(fitted(m))), 5)
    }
    out[[paste(id, method)]] <<- one
    cat(id, method, one$logLik, one$phi, "\n")
  }
}
add("orthodont strata", O, "distance ~ age * Sex + (1 | Subject)", "varIdent(Sex)",
    distance ~ age * Sex, ~1 | Subject, weights = varIdent(form = ~1 | Sex))
add("orthodont slopes", O, "distance ~ age * Sex + (age | Subject)", "varIdent(Sex)",
    distance ~ age * Sex, ~age | Subject, weights = varIdent(form = ~1 | Sex))
add("orthodont ar1", O, "distance ~ age * Sex + (1 | Subject)", "ar1(1 | Subject)",
    distance ~ age * Sex, ~1 | Subject, correlation = corAR1(form = ~1 | Subject))
add("orthodont both", O, "distance ~ age * Sex + (1 | Subject)",
    "ar1(1 | Subject) + varIdent(Sex)", distance ~ age * Sex, ~1 | Subject,
    correlation = corAR1(form = ~1 | Subject), weights = varIdent(form = ~1 | Sex))
sincos <- follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time)
text <- "follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time)"
add("ovary ar1", V, paste(text, "+ (1 | Mare)"), "ar1(1 | Mare)", sincos, ~1 | Mare,
    correlation = corAR1(form = ~1 | Mare))
add("ovary diag", V, paste(text, "+ diag(1 + sin(2 * pi * Time) | Mare)"), "ar1(1 | Mare)", sincos,
    list(Mare = pdDiag(~sin(2 * pi * Time))), correlation = corAR1(form = ~1 | Mare))
add("ovary car1", V, paste(text, "+ (1 | Mare)"), "car1(Time | Mare)", sincos, ~1 | Mare,
    correlation = corCAR1(0.01, form = ~Time | Mare))
add("ovary gls", V, text, "ar1(1 | Mare)", sincos, NULL, correlation = corAR1(form = ~1 | Mare))
poly <- rate ~ (pressure + I(pressure^2)) * QB
add("dialyzer power", D, "rate ~ (pressure + I(pressure^2)) * QB + (1 | Subject)", "varPower(pressure)",
    poly, ~1 | Subject, weights = varPower(form = ~pressure))
add("dialyzer slopes", D, "rate ~ (pressure + I(pressure^2)) * QB + (pressure | Subject)", "varPower(pressure)",
    poly, ~pressure | Subject, weights = varPower(form = ~pressure))
add("dialyzer power by QB", D, "rate ~ (pressure + I(pressure^2)) * QB + (1 | Subject)", "varPower(pressure | QB)",
    poly, ~1 | Subject, weights = varPower(form = ~pressure | QB))
add("dialyzer both", D, "rate ~ (pressure + I(pressure^2)) * QB + (1 | Subject)",
    "ar1(index | Subject) + varPower(pressure)", poly, ~1 | Subject,
    correlation = corAR1(form = ~index | Subject), weights = varPower(form = ~pressure))
add("dialyzer gaps", D[-c(3, 11, 12, 30), ], "rate ~ (pressure + I(pressure^2)) * QB + (1 | Subject)",
    "ar1(index | Subject)", poly, ~1 | Subject, correlation = corAR1(form = ~index | Subject))
add("body exp", B, "weight ~ Time * Diet + (Time | Rat)", "varExp(Time)", weight ~ Time * Diet,
    ~Time | Rat, weights = varExp(form = ~Time))
add("body power", B, "weight ~ Time * Diet + (Time | Rat)", "varPower(Time)", weight ~ Time * Diet,
    ~Time | Rat, weights = varPower(form = ~Time))
add("body fixed", B, "weight ~ Time * Diet + (Time | Rat)", "varFixed(Time)", weight ~ Time * Diet,
    ~Time | Rat, weights = varFixed(~Time))
cat(toJSON(out, digits = 12, auto_unbox = TRUE), file = file.path(target, "nlme.json"))
