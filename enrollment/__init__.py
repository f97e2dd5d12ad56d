"""The command line of those who enrol people and answer for their consent.

Photos -> faces -> quality gate -> crops, sent to the hub over the encrypted protocol with an admin
key. Keeps nothing itself. Imports `protocol` and `vision`, never `edge_node` or `hub`.
"""
