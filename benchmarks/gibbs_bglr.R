# One call of BGLR on the files that gibbs.py wrote: processor seconds by iterations, then held-out ability.
#     Rscript gibbs_bglr.R FOLDER MODEL N_TRAIN N_TEST N_MARKERS ITERATIONS BURN_IN
suppressMessages(library(BGLR))
a <- commandArgs(trailingOnly = TRUE)
n <- as.integer(a[3]); n_test <- as.integer(a[4]); m <- as.integer(a[5])
number <- function(file, count) readBin(file.path(a[1], file), "double", count)
X <- matrix(number("train.bin", n * m), n, m); y <- number("y_train.bin", n)
setwd(tempdir()); set.seed(1)
began <- proc.time()
fit <- BGLR(y = y, ETA = list(list(X = X, model = a[2])), nIter = as.integer(a[6]), burnIn = as.integer(a[7]), thin = 5,
            verbose = FALSE)
spent <- proc.time() - began
X_test <- matrix(number("test.bin", n_test * m), n_test, m)
cat(spent[1] + spent[2], spent[3], cor(X_test %*% fit$ETA[[1]]$b, number("y_test.bin", n_test)), "\n")
