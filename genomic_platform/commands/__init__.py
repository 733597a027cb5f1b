"""The commands of `genomic-platform`, a file for each thing a person does; thin over library functions."""
