"""The edge node: camera in, anonymized stream out.

capture -> detect -> track -> timeline -> release -> veil -> sinks. Talks to the hub through
`edge_node.uplink` alone. Imports `protocol` and `vision`, never `hub` or `enrollment`.
"""
