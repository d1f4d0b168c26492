# What R and lme4 make of formulas, one JSON object a line.
# Rscript random_formulas.R FORMULAS DATA_FOLDER DATA_NAME OUTPUT [NEW_DATA_NAME]
# Matrices are kept as sum(M[i, j] * sin(i) * cos(j)), vectors as sum(v[i] * sin(i)).
suppressMessages({library(lme4); library(jsonlite); library(splines)})
invisible(Sys.setlocale("LC_COLLATE", "C"))
arg <- commandArgs(TRUE)
read <- function(name) {
  schema <- fromJSON(file.path(arg[2], paste0(name, ".schema.json")), simplifyVector = FALSE)
  raw <- read.csv(file.path(arg[2], paste0(name, ".csv")), colClasses = "character",
                  na.strings = "NA", check.names = FALSE)
  for (column in schema$columns) {
    v <- raw[[column$name]]; levels <- unlist(column$levels)
    raw[[column$name]] <- switch(column$type, double = as.numeric(v),
      integer = as.integer(v), logical = as.logical(v), string = v,
      factor = factor(v, levels = levels), ordered = factor(v, levels = levels, ordered = TRUE))
  }
  raw
}
hash <- function(M) {
  M <- as.matrix(M)
  if (!length(M)) return(0)
  sum(M * outer(sin(seq_len(nrow(M))), cos(seq_len(ncol(M)))))
}
vhash <- function(v) if (is.null(v)) NULL else sum(as.numeric(v) * sin(seq_along(v)))
ignore <- lmerControl(check.nobs.vs.rankZ = "ignore", check.nobs.vs.nlev = "ignore",
  check.nlev.gtr.1 = "ignore", check.nobs.vs.nRE = "ignore", check.rankX = "ignore",
  check.scaleX = "ignore", check.formula.LHS = "ignore")
data <- read(arg[3])
new <- if (length(arg) > 4) read(arg[5])
random <- function(f) {
  l <- lFormula(f, data, control = ignore)
  re <- l$reTrms
  list(cols = I(colnames(l$X)), assign = I(attr(l$X, "assign")), X = hash(l$X),
       n = nrow(l$X), offset = vhash(model.offset(l$fr)),
       cnms = I(paste(names(re$cnms), sapply(re$cnms, paste, collapse = ";"))),
       Lind = vhash(re$Lind), Zt = hash(re$Zt), theta = vhash(re$theta),
       flist = I(sapply(names(re$flist), function(g)
         paste(g, paste(levels(re$flist[[g]]), collapse = ",")), USE.NAMES = FALSE)))
}
fixed <- function(f) {
  frame <- model.frame(f, data, drop.unused.levels = TRUE)
  X <- model.matrix(attr(frame, "terms"), frame)
  r <- list(cols = I(colnames(X)), assign = I(attr(X, "assign")), X = hash(X), n = nrow(X),
            offset = vhash(model.offset(frame)), labels = I(attr(terms(frame), "term.labels")))
  if (!is.null(new)) {
    t <- delete.response(terms(frame))
    m <- model.frame(t, new, xlev = .getXlevels(terms(frame), frame), na.action = na.pass)
    r$new <- hash(model.matrix(t, m, contrasts.arg = attr(X, "contrasts")))
  }
  r
}
out <- file(arg[4], "w")
for (s in readLines(arg[1])) {
  r <- tryCatch(suppressWarnings(suppressMessages({
    f <- as.formula(s)
    if (is.null(findbars(f))) fixed(f) else random(f)
  })), error = function(e) list(error = substr(conditionMessage(e), 1, 60)))
  writeLines(toJSON(c(list(formula = s), r), digits = 15, auto_unbox = TRUE, null = "null"), out)
}
close(out)
