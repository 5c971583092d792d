"""Figures about directions: visibility of factors, effects, scores, names, and the HTML report."""
