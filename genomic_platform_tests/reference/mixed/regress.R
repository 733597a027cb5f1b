# Reaction norm of rice yield by the R package regress: Rscript regress.R FOLDER
# FOLDER holds what test_reference_mixed.py's `export` wrote there; prints components, their standard errors, the
# restricted log likelihood and the BLUP of lines (G) as tables.
suppressMessages(library(regress))
folder <- commandArgs(TRUE)[1]
records <- read.csv(file.path(folder, "records.csv"))
k <- as.matrix(read.csv(file.path(folder, "k.csv"), header = FALSE))
line <- records$line + 1
environment <- diag(5)[records$environment + 1, ]
E <- tcrossprod(environment)
G <- k[line, line]
L <- outer(line, line, "==") + 0
GE <- G * E
fit <- regress(y ~ 1, ~ E + G + L + GE, data = records, tol = 1e-8, maxcyc = 100)
cat("component\tvariance\tstandard_error\n")
names <- c("environment", "line", "line_residual", "line_by_environment", "error")
for (i in seq_along(names)) cat(sprintf("%s\t%.8g\t%.8g\n", names[i], fit$sigma[i], sqrt(diag(fit$sigma.cov))[i]))
cat(sprintf("mean\t%.10g\t%.8g\n", fit$beta, fit$beta.se))
cat(sprintf("log_likelihood\t%.10g\t\n", fit$llik))
dual <- fit$W %*% (records$y - fit$fitted)
g <- fit$sigma[["G"]] * k[, line] %*% dual
for (i in 1:10) cat(sprintf("G of line %d\t%.8g\t\n", i - 1, g[i]))
