"""The main job, shown to a person: told as it happens, proved by ``lab.measure``, written down as JSON and as a report.

- ``demo``: the story, in order; ``watch`` reads what the product says meanwhile, ``narration`` tells it
- ``conclude``, ``result``: what it all amounts to; ``summary`` prints it
- ``report``, ``timeline``, ``topology``: the same as one HTML file with drawings
"""
