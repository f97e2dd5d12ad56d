"""The wire between edge nodes, hub and enrollment: messages, codec, session, limits, keys.

Owns everything that both ends of a connection must agree on, and no socket: the packages that
talk (`edge_node.uplink`, `hub.server`, `enrollment.client`) drive the state machines found here.
Imports none of the other packages.
"""
