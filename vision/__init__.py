"""Faces in one image: detection, geometry, quality, crops, and the models behind them.

Pure but for `model_store` (files) and `runtime` (the inference library). No identity over time, no
socket, no camera. Used by edge_node (live), enrollment (photos) and hub (crops). Imports none of
the other packages.
"""
