"""The eBPF backend: programs on guests', appliances' and tunnel ports, and the tables they decide by.

- ``bpf/``: the programs; ``build`` compiles them, ``layout`` declares what they and we must agree on
- ``syscall``, ``libbpf``, ``arrays``: the kernel's interfaces, thinly
- ``marks``: the mark's fields within the configured mask
- ``records``, ``slots``: a steering table as words and immutable records, and where these lie
- ``tcx``, ``clsact``, ``attachment``: programs on ports
- ``backend``: all of it as one thing; ``trace`` asks the live programs about a packet
- ``reference``: writes the reference page from these declarations
"""
