"""Structure of a panel: components, linkage, differentiation, effective size."""
