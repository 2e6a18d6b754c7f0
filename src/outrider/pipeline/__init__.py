"""Pure: from what a server should do to the steering table that makes it so, and a model of how packets fare in it.

- ``table``: steering tables, rows by meaning; a backend knows how to put them into its data path
- ``compile``: an intent and the ports that exist here, to a steering table
- ``model``: what the programs decide of a packet, as a function of table and packet
- ``explain``: that decision in words
"""
