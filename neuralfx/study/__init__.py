"""Studies: a grid of models, effects and seeds, trained, measured and tabulated. Needs no torch itself."""
