"""One drive through a change of conditions: start the graph, watch it adapt, score it, report."""
