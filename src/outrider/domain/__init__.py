"""The words of the project as immutable values: no clock, no randomness, no I/O, no third party.

Every other package speaks in these. They are grouped by noun, one file each:

- ``labels``: label grammar and selectors (Kubernetes' rules)
- ``names``: what a name may look like
- ``policy``, ``appliance``, ``ruleset``: what users declare
- ``guest``, ``wire``: what is protected, and the way its packets take
- ``intent``: what one server should do; ``observation``: what one server says is so
- ``move``: the record derived when a vnic changes server
"""
