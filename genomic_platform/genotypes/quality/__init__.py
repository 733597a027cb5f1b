"""Quality of genotypes: variants, lines, duplicates, parentage. What is removed, and why."""
