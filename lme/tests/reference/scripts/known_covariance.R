# Known covariances between levels: metafor 3.8-1, nlme, lme4 with a rotated Z (R 4.2.2).
#
# Data that R packages ship: metadat's dat.lim2014 (a phylogenetic meta-analysis) and
# ape's carnivora. Usage: Rscript known_covariance.R OUT.json; the test suite has the
# result as reference/known_covariance/known.json.gz.
suppressMessages({library(metadat); library(ape); library(metafor); library(nlme); library(lme4); library(jsonlite)})
edges <- function(tree) list(edge=tree$edge, length=tree$edge.length, tips=tree$tip.label)
out <- list()
d <- metadat::dat.lim2014$o_o_unadj
tree <- compute.brlen(metadat::dat.lim2014$o_o_unadj_tree)
d <- escalc(measure="ZCOR", ri=ri, ni=ni, data=d)
d$id <- seq_len(nrow(d)); d$species2 <- d$species
A <- vcv(tree, corr=TRUE)
stopifnot(all(d$species %in% rownames(A)))
fits <- list()
for (method in c("REML", "ML")) {
  m <- rma.mv(yi, vi, mods=~amniotes, random=list(~1|article, ~1|id, ~1|species, ~1|species2), R=list(species=A), method=method, data=d)
  b <- ranef(m)$species
  fits[[method]] <- list(loglik=as.numeric(logLik(m)), beta=as.numeric(m$beta), se=m$se, sigma2=m$sigma2, names=m$s.names, blup=b$intrcpt, species=rownames(b))
}
out$lim <- list(data=data.frame(yi=as.numeric(d$yi), vi=as.numeric(d$vi), article=d$article, species=d$species, amniotes=d$amniotes), tree=edges(tree), fits=fits)
data(carnivora)
carnivora$Species <- gsub(" ", "_", as.character(carnivora$Species))
for (v in c("SuperFamily","Family","Genus","Species")) carnivora[[v]] <- factor(carnivora[[v]])
tree <- compute.brlen(as.phylo(~SuperFamily/Family/Genus/Species, data=carnivora, collapse=FALSE))
A <- vcv(tree, corr=TRUE)
c2 <- data.frame(species=as.character(carnivora$Species), family=as.character(carnivora$Family), brain=log(carnivora$SB), body=log(carnivora$SW))
c2 <- c2[order(c2$species),]; rownames(c2) <- c2$species
fits <- list()
for (method in c("REML","ML")) {
  g <- gls(brain~body, data=c2, correlation=corPagel(0.5, tree, form=~species), method=method)
  fits[[method]] <- list(loglik=as.numeric(logLik(g)), beta=as.numeric(coef(g)), lambda=as.numeric(coef(g$modelStruct$corStruct, unconstrained=FALSE)), sigma=g$sigma)
}
# lme4 with rotated Z
rot <- function(reml) {
  f <- lFormula(brain~body+(1|species)+(1|family), data=c2, REML=reml, control=lmerControl(check.nobs.vs.nlev="ignore", check.nobs.vs.nRE="ignore"))
  L <- t(chol(A[levels(f$reTrms$flist$species), levels(f$reTrms$flist$species)]))
  n <- nlevels(f$reTrms$flist$species)
  i <- which(names(f$reTrms$cnms)=="species"); Gp <- f$reTrms$Gp
  rows <- (Gp[i]+1):Gp[i+1]
  f$reTrms$Zt[rows,] <- Matrix(t(L) %*% as.matrix(f$reTrms$Zt[rows,]), sparse=TRUE)
  dev <- do.call(mkLmerDevfun, f); opt <- optimizeLmer(dev, optimizer="bobyqa", control=list(rhoend=1e-9))
  m <- mkMerMod(environment(dev), opt, f$reTrms, fr=f$fr)
  u <- as.numeric(as.matrix(ranef(m, condVar=FALSE)$species)); 
  list(loglik=as.numeric(logLik(m)), beta=as.numeric(fixef(m)), sd=as.data.frame(VarCorr(m))$sdcor, grp=as.data.frame(VarCorr(m))$grp, se=as.numeric(sqrt(diag(as.matrix(vcov(m))))), b=as.numeric(L %*% u), levels=levels(f$reTrms$flist$species))
}
fits$rotated <- list(REML=rot(TRUE), ML=rot(FALSE))
# glmer with rotated Z, a phylogenetic Poisson: litter size rounded
carn <- carnivora[!is.na(carnivora$LS),]; carn <- carn[order(as.character(carn$Species)),]
c3 <- data.frame(species=as.character(carn$Species), y=as.integer(round(carn$LS)), body=log(carn$SW))
f <- glFormula(y~body+(1|species), data=c3, family=poisson, control=glmerControl(check.nobs.vs.nlev="ignore", check.nobs.vs.nRE="ignore"))
lv <- levels(f$reTrms$flist$species); L <- t(chol(A[lv,lv])); f$reTrms$Zt <- as(as(Matrix(t(L) %*% as.matrix(f$reTrms$Zt), sparse=TRUE), "generalMatrix"), "CsparseMatrix")
dev <- do.call(mkGlmerDevfun, f); opt <- optimizeGlmer(dev); dev <- updateGlmerDevfun(dev, f$reTrms)
opt <- optimizeGlmer(dev, stage=2, optimizer="bobyqa", control=list(rhoend=1e-9)); m <- mkMerMod(environment(dev), opt, f$reTrms, fr=f$fr)
fits$poisson <- list(loglik=as.numeric(logLik(m)), beta=as.numeric(fixef(m)), sd=as.data.frame(VarCorr(m))$sdcor, se=as.numeric(sqrt(diag(as.matrix(vcov(m))))))
out$carnivora <- list(data=c2, litters=c3, tree=edges(tree), fits=fits)
write(toJSON(out, digits=15, auto_unbox=TRUE), commandArgs(TRUE)[1])
