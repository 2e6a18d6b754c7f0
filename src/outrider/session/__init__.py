"""What controller and agent say to each other: values in, bytes out, no socket anywhere.

- ``messages``: the two kinds of message and their NDJSON form
- ``agent``: the agent's end: which intents it accepts, which reports it owes
- ``controller``: the controller's end: whose reports it accepts, which intents it owes

Both ends say everything each time (a whole intent, a whole observation): a lost, repeated or late message is made good
by the next one. Transport is somebody else's business (today HTTP over a Unix socket).
"""
