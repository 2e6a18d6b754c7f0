"""The command line.

- ``main``: the commands and how they end; ``exits``: every exit code
- ``objects``, ``inspect``, ``run``, ``images``, ``hook``, ``doctor``, ``lab``, ``demo``: the commands, by subject
- ``ask``: asking controller and agents; ``places``: where those are
- ``output``, ``columns``: what is printed
- ``checkup``, ``checks_kernel``, ``checks_host``, ``bpf_syscall``, ``uplink``: what ``doctor`` looks at
"""
