"""Who is related to whom, by markers, by pedigree or by both; and the matrix products that it takes."""
