"""Data in partitions: models of data that do not fit into memory.

A first pass collects what the whole column decides: levels, scales, knots. Later ones
turn each partition into arrays with it and add up what the engine needs.
"""
