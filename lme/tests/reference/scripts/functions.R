# Values of the formula functions in R, with 17 digits, for test_functions.py.
# Rscript functions.R > ../functions.json      (R 4.2.2, package splines)
#
# Each case holds the call as a nested list (function, arguments, names), R's value
# on the data, and, where R remembers the call, its value on the new data.
suppressMessages(library(splines))
invisible(Sys.setlocale("LC_COLLATE", "C"))
set.seed(20240611)

n <- 14L
D <- data.frame(
  x = round(rnorm(n, 2, 1.5), 3),
  z = round(exp(rnorm(n)), 3),
  w = c(0, 0, 0, 0, 1, 1.5, 2, 2, 2.5, 3, 4, 4, 4, 4),
  k = sample(-3:6, n, TRUE),
  j = c(1:4, sample(1:4, n - 4L, TRUE)),
  t = sample(c(1e5, 1 / 3, 0.1 + 0.2, 123456.7, 1e-5, 1e15), n, TRUE),
  b = sample(c(TRUE, FALSE), n, TRUE),
  s = sample(c("B", "a", "Z_1", "b c"), n, TRUE),
  stringsAsFactors = FALSE
)
D$xn <- replace(D$x, c(3, 8), NA)
D$bn <- replace(D$b, c(2, 9), NA)
D$sn <- replace(D$s, 5, NA)
D$f <- factor(c("a", "b", "c", sample(c("a", "b", "c"), n - 3L, TRUE)))
D$g <- factor(c("u", "v", NA, sample(c("u", "v"), n - 3L, TRUE)), levels = c("u", "v", "q"))
D$o <- factor(
  c("lo", "mid", "hi", NA, sample(c("lo", "mid", "hi"), n - 4L, TRUE)),
  levels = c("lo", "mid", "hi", "top"), ordered = TRUE
)
N <- D[c(2, 5, 7, 11), ]
N$x <- c(-4, 1.25, 9.5, 2)
N$xn <- c(-4, NA, 9.5, 2)
N$w <- c(-1, 0.3, 5, 4)
N$z <- c(0.1, 1, 3, 30)

quoted <- function(v) encodeString(v, quote = "\"")
array_of <- function(v, text) {
  paste0("[", paste(ifelse(is.na(v), "null", text), collapse = ","), "]")
}
numbers <- function(v) {
  v <- as.double(v)
  text <- sprintf("%.17g", v)
  text[is.infinite(v)] <- ifelse(v[is.infinite(v)] > 0, "1e999", "-1e999")
  array_of(v, text)
}
strings <- function(v) array_of(v, quoted(v))

value <- function(v) {
  if (is.factor(v)) {
    contrasts <- attr(v, "contrasts")
    coding <- if (is.null(contrasts)) "null"
      else if (is.character(contrasts)) quoted(contrasts)
      else sprintf("{\"values\":%s,\"names\":%s}", numbers(contrasts),
        if (is.null(colnames(contrasts))) "null" else strings(colnames(contrasts)))
    return(sprintf(
      "{\"type\":\"factor\",\"codes\":%s,\"levels\":%s,\"ordered\":%s,\"coding\":%s}",
      numbers(as.integer(v) - 1L), strings(levels(v)), tolower(is.ordered(v)), coding
    ))
  }
  if (is.matrix(v)) {
    return(sprintf("{\"type\":\"matrix\",\"columns\":%d,\"values\":%s,\"names\":%s}",
      ncol(v), numbers(v), if (is.null(colnames(v))) "null" else strings(colnames(v))))
  }
  sprintf("{\"type\":\"%s\",\"values\":%s}", typeof(v),
    if (is.character(v)) strings(v) else numbers(v))
}

tree <- function(e) {
  if (is.symbol(e)) return(sprintf("{\"name\":%s}", quoted(as.character(e))))
  if (is.character(e)) return(sprintf("{\"string\":%s}", quoted(e)))
  if (is.logical(e)) return(sprintf("{\"name\":\"%s\"}", if (is.na(e)) "NA" else e))
  if (is.integer(e)) return(sprintf("{\"integer\":%d}", e))
  if (is.numeric(e)) {
    if (is.infinite(e)) return("{\"name\":\"Inf\"}")
    return(sprintf("{\"number\":%.17g}", e))
  }
  if (identical(e[[1]], quote(`(`))) return(tree(e[[2]]))
  args <- as.list(e)[-1]
  tags <- if (is.null(names(args))) rep("", length(args)) else names(args)
  sprintf("{\"call\":%s,\"args\":[%s],\"tags\":[%s]}", quoted(as.character(e[[1]])),
    paste(vapply(args, tree, ""), collapse = ","), paste(quoted(tags), collapse = ","))
}

plain <- expression(
  x + k, k + j, k * j, k / j, k - 2L, x - 1, -x, -k, +b, x^2, k^2L, 2^k, x^-0.5,
  k %% 3L, x %% 0.7, -x %% 2, k %/% 2L, x %/% 0.7, k %/% 0L, k %% 0, b + b, bn * x,
  x > 2, xn > 2, k == 3L, k != 2, x <= z, f == "a", f != "nope", "b" == f, s == "a",
  s < "b", sn != "a", o >= "mid", o < "hi", o == o, k == "3", b == TRUE,
  b & bn, bn | FALSE, bn | TRUE, !bn, !k, xn > 0 & bn,
  I(x > 0), I(x^2 + k), log(z), log(x), log(z, 2), log(z, base = 3.5), log2(z),
  log10(k), log1p(x), exp(x), expm1(k), sqrt(x), abs(k), abs(x), sin(x), cos(k),
  tan(x), asin(x), atan(x), floor(x), ceiling(x), trunc(-x), sign(k), plogis(x),
  round(x), round(x, 1), round(-x, 2), round(k * 1234.5, -2), round(k / 20, 1),
  pmin(x, z), pmax(k, 2L), pmax(xn, 1), pmin(xn, z, 1, na.rm = TRUE),
  ifelse(x > 2, 1, 0), ifelse(xn > 2, k, 0L), ifelse(bn, "yes", "no"),
  ifelse(b, NA, x), ifelse(f == "a", x, z), is.na(xn), is.na(g),
  c(1, 2L, TRUE), c(1L, NA), c("a", 1.5, TRUE, 1e5), c(TRUE, NA), 2:5, 3L:-2L, 1.5:4,
  seq(0, 10, 2.5), seq(1, 2, length.out = 4), seq(5, 1, by = -1.5), f %in% c("a", "c"),
  k %in% c(1, 2), sn %in% c("B", NA),
  factor(k), factor(x), factor(t), factor(s), factor(sn), factor(bn), factor(g),
  factor(o), factor(j, levels = c(3, 1, 2)), factor(f, labels = c("A", "B", "A")),
  factor(j, labels = "L"), factor(f, levels = c("c", "b", "a"), labels = 1:3),
  factor(b, labels = c("no", "yes")), factor(g, ordered = TRUE),
  factor(o, ordered = FALSE), as.factor(g), as.factor(k), ordered(k),
  ordered(f, levels = c("c", "a", "b")), as.ordered(g), droplevels(o),
  relevel(f, ref = "b"), relevel(f, 3), relevel(factor(j), "2"),
  cut(x, 3), cut(x, c(-3, 2, 9)), cut(xn, 4, labels = FALSE), cut(w, c(0, 2, 4)),
  cut(w, c(0, 2, 4), include.lowest = TRUE), cut(w, c(0, 2, 4), right = FALSE),
  cut(w, c(0, 2, 4), right = FALSE, include.lowest = TRUE), cut(x, c(-Inf, 2, Inf)),
  cut(x, 2, labels = c("low", "high"), ordered_result = TRUE), cut(t, 3),
  cut(x, c(2, 2.0004, 2.0008), dig.lab = 2), cut(z, quantile(z, c(0, 0.5, 1))),
  cut(k * 1e6, 4), cut(k, c(-4, -1.00001, -1, 7)),
  interaction(f, g), interaction(f, b, sep = "_"), interaction(f, o, drop = TRUE),
  interaction(f, g, lex.order = TRUE), f:g,
  C(f), C(o), C(f, contr.sum), C(f, sum), C(f, contr.SAS), C(f, SAS), C(f, "contr.SAS"),
  C(f, treatment), C(f, contr.treatment), C(f, helmert), C(o, contr.poly), C(o, "contr.sum"),
  C(f, contr.treatment(3, base = 2)), C(f, contr.treatment, base = 3), C(o, contr.poly, 2),
  C(f, c(1, 0, -1)), C(o, c(1, 0, 0, -1)), C(o, cbind(c(1, -1, 0, 0), c(1, 1, -1, -1))),
  C(o, contr.poly(4, scores = c(1, 2, 4, 8))),
  contr.treatment(4), contr.treatment(c("p", "q", "r"), base = 3), contr.sum(4),
  contr.helmert(5), contr.SAS(3), contr.poly(2), contr.poly(3), contr.poly(4),
  contr.poly(7), contr.poly(15), contr.poly(c(1, 5, 9)), contr.sum(3, contrasts = FALSE),
  mean(x), mean(xn, na.rm = TRUE), sd(x), var(k), min(k), max(x), median(z), sum(k),
  quantile(xn, c(0.1, 0.5), na.rm = TRUE), I(x - mean(x)),
  cbind(x, z), cbind(x, log(z)), cbind(log(z), k), cbind(a = x, k, b = 1), log(cbind(z, j)),
  # Beyond the boundary R gives NaN for these, whose knots lie on it.
  bs(w, df = 7, degree = 2), bs(-w, df = 6),
  cbind(x, z) * k, I(scale(x)^2), scale(x, 1.5, 2), scale(x, FALSE, FALSE), offset(log(z))
)

remembered <- expression(
  scale(x), scale(xn), scale(k), scale(x, scale = FALSE), scale(x, center = FALSE),
  scale(x, center = 1.5, scale = 2), scale(cbind(x, z)), scale(log(z)),
  poly(x, 1), poly(x, 2), poly(x, 5), poly(w, degree = 3), poly(k, 2), poly(log(z), 3),
  poly(x, 3, raw = TRUE), poly(xn, 2, raw = TRUE), poly(x, z, degree = 2),
  poly(x, z, w, degree = 2), poly(x, z, degree = 3, raw = TRUE), poly(cbind(x, z), 2),
  ns(x), ns(x, 3), ns(x, df = 4), ns(xn, df = 3), ns(x, df = 3, intercept = TRUE),
  ns(x, knots = c(1, 2.5)), ns(w, knots = c(0, 1)), ns(x, knots = 2, Boundary.knots = c(0, 4)),
  ns(w, df = 3, Boundary.knots = c(0.5, 3.5)), ns(log(z), df = 2), ns(k, 2),
  bs(x), bs(x, 5), bs(x, df = 6), bs(xn, df = 5), bs(x, df = 5, intercept = TRUE),
  bs(x, degree = 1, df = 3), bs(x, degree = 2, knots = c(1, 2, 3)), bs(w, df = 5),
  bs(x, knots = c(1, 2.5), degree = 5), bs(log(z), df = 4),
  bs(x, df = 5, Boundary.knots = c(-1, 4)), bs(x, knots = c(1, 2), Boundary.knots = c(0, 3))
)

attempt <- function(e) tryCatch(suppressWarnings(e), error = function(problem) NULL)
case <- function(e, new) {
  result <- attempt(eval(e, D))
  stopifnot(!is.null(result))
  later <- "null"
  if (new) {
    frame <- suppressWarnings(
      model.frame(as.formula(call("~", e), globalenv()), D, na.action = na.pass)
    )
    later <- value(suppressWarnings(
      model.frame(terms(frame), N, na.action = na.pass)
    )[[1]])
  }
  sprintf("{\"text\":%s,\"tree\":%s,\"value\":%s,\"new\":%s}",
    quoted(paste(deparse(e, width.cutoff = 500L), collapse = "")), tree(e),
    value(result), later)
}
frame <- function(d) {
  paste0("{", paste(sprintf("\"%s\":%s", names(d), vapply(d, value, "")), collapse = ",\n"), "}")
}
random <- c(
  rnorm(150) * 10^sample(-20:20, 150, TRUE), sample(-1e6:1e6, 60),
  round(rnorm(120) * 10^sample(-3:8, 120, TRUE), 2), sample(99, 60) * 10^sample(-12:24, 60, TRUE),
  runif(60, -2^62, 2^62), 1e5, 1e15, 123456, 0.1 + 0.2, 1 / 3, 1e-4, 1.2e-4, 1e22, 0
)
cases <- c(vapply(plain, case, "", FALSE), vapply(remembered, case, "", TRUE))
cat("{\"R\":", quoted(R.version.string), ",\n\"data\":", frame(D), ",\n\"new\":", frame(N),
  ",\n\"numbers\":", numbers(random), ",\n\"texts\":", strings(as.character(random)),
  ",\n\"cases\":[\n", paste(cases, collapse = ",\n"), "\n]}\n", sep = "")
