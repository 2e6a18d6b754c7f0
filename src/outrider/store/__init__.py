"""Where the controller keeps what must outlive it.

- ``contract``: what a store is (etcd v3's meaning)
- ``memory``: the same in memory; ``sqlite`` (tables in ``schema``): the embedded default
- ``declared``: the declared objects as rows of a store
"""
