"""One module a figure: ``run(context)`` computes its numbers, ``draw(rows)`` draws them."""
