# Writes d.csv and ub.json into the working directory: see make_ddf.py.
suppressMessages({library(lmerTest)})
set.seed(7)
n<-140; d<-data.frame(g=factor(sample(15,n,TRUE)),h=factor(sample(9,n,TRUE)),a=factor(sample(c("p","q","r"),n,TRUE,c(.5,.3,.2))),b=factor(sample(c("u","v"),n,TRUE,c(.7,.3))),x=round(rnorm(n),3),w=round(runif(n,.5,2),3))
d$y<-round(rnorm(15)[d$g]+.5*rnorm(9)[d$h]+.3*rnorm(15)[d$g]*d$x+as.numeric(d$a)*.2+rnorm(n),4)
write.csv(d,"d.csv",row.names=FALSE)
ms<-c("y~a*b+x+(1|g)+(1|h)","y~a*x+b+(x|g)","y~b*x+poly(x,2):b+a+(1|g)","y~0+a+a:x+(1|g)+(1|h)","y~a*b*x+(1|g)")
res<-list()
for(f in ms) for(w in c(FALSE,TRUE)) for(reml in c(TRUE,FALSE)) {
 m<- if(w) lmer(as.formula(f),d,weights=w,REML=reml,control=lmerControl(optimizer="bobyqa",optCtrl=list(rhoend=1e-9))) else lmer(as.formula(f),d,REML=reml,control=lmerControl(optimizer="bobyqa",optCtrl=list(rhoend=1e-9)))
 e<-list(formula=f,weights=w,reml=reml,summary=unclass(coef(summary(m))))
 for(dd in c("Satterthwaite","Kenward-Roger")) { if(dd=="Kenward-Roger" && (!reml||w)) next
 for(t in 1:3){a<-try(as.data.frame(anova(m,type=t,ddf=dd)),silent=TRUE); if(!inherits(a,"try-error")) e[[paste0(dd,t)]]<-c(list(rows=rownames(a)),as.list(a))}}
 if(reml&&!w) e$kr<-coef(summary(m,ddf="Kenward-Roger"))
 res[[length(res)+1]]<-e}
cat(jsonlite::toJSON(res,digits=14,auto_unbox=FALSE),file="ub.json")
