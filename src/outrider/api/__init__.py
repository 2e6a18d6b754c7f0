"""The HTTP API.

- ``state``: what it needs from the controller, and the keys of every row
- ``app``: requests and answers; ``changes``: checking and declaring; ``views``: what is shown of an object
- ``streams``: answers without end
- ``client``: the other end
"""
