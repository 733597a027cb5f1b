"""Missing calls filled in: mean, neighbours, Beagle; and how well that does on calls that are known."""
