"""The only place where adapters, loops and the API are wired together.

- ``controller``: store, planner loop, API on a socket
- ``agent``: adapters of one server, agent loop, session, control socket
- ``up``: both in one process (they still talk only through the session, over the socket)
- ``process``: logging, signals and one-sentence failures, for all three
"""
