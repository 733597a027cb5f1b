# BGLR on the published folds of the CIMMYT wheat lines: r of predicted and observed, pooled over the ten folds.
#     Rscript bglr_wheat.R MODEL >> bglr_wheat.csv      MODEL: BayesB, BayesC or BL
# Columns of wheat.X are centred; everything else is BGLR's default (R2 .5, df0 5, probIn .5 with 10 counts).
# BGLR 1.1.5 (GitHub gdlc/BGLR-R, commit f66f9bc), R 4.2.2, OpenBLAS with one thread.
suppressMessages(library(BGLR))
data(wheat)
model <- commandArgs(trailingOnly = TRUE)[1]
iterations <- 12000; burn_in <- 2000; thin <- 5; seed <- 1
X <- scale(wheat.X, center = TRUE, scale = FALSE)
folder <- tempfile(); dir.create(folder)
for (environment in 1:4) {
  y <- wheat.Y[, environment]
  predicted <- rep(NA, length(y))
  for (fold in 1:10) {
    out <- wheat.sets == fold
    set.seed(seed)
    fit <- BGLR(y = y[!out], ETA = list(list(X = X[!out, ], model = model)), nIter = iterations, burnIn = burn_in,
                thin = thin, verbose = FALSE, saveAt = file.path(folder, "chain_"))
    predicted[out] <- fit$mu + X[out, ] %*% fit$ETA[[1]]$b
    message(paste(Sys.time(), model, environment, fold))
  }
  cat(sprintf("%s,E%d,%.4f,%d,%d,%d,%d,%s\n", model, environment, cor(predicted, y), iterations, burn_in, thin, seed,
              packageVersion("BGLR")))
}
