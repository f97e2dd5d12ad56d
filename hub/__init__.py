"""The hub: face crops in, decisions out.

ROUTER -> session -> batcher -> embedder -> gallery -> evidence -> policy -> reply. Keeps the enrolled
people; never sees a frame. Imports `protocol` and `vision`, never `edge_node` or `enrollment`.
"""
