"""Manifests: the documents in which users declare what they want, and their translation to domain values.

- ``kinds``: the kinds and every name they go by
- ``shapes``: the fields of each kind; ``findings``: what is wrong, in words that name what is allowed
- ``read``: YAML files to documents; ``convert``: documents to domain values and back
- ``references``: what one object says of another; ``builtin``: classes that come with Outrider
- ``guest_labels``: labels given to a guest through Outrider
- ``codec``: domain values to JSON and back, for everything that is not written by people
"""
