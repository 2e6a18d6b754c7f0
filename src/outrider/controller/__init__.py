"""The controller: what is declared and what is observed go in, one intent per server comes out.

- ``loop``: keeps the cluster state, plans whenever it changed, remembers what it promised
- ``memory``: the ledger and the term in the store, every write fenced
- ``events``: what is worth telling a person, derived from the difference between two ledgers
- ``views``: the cluster as rows for the API
- ``service``: all of it behind the API's protocol
"""
