"""Models beside one another: likelihood ratios, nesting, deletion, conditional AIC."""
