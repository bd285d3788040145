"""Figures, tables and reports of what a model does."""
