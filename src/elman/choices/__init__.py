"""What a person may choose: of the reading, the network, the training and each task; with the usual values.

The command line takes its options from here, so nothing in it loads torch or polars.
"""
