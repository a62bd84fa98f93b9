"""Where the documents come from: a folder of the host, or a git repository that is fetched and verified.

Neighbours: ``spec`` reads the documents, ``daemon`` and ``cli`` ask for them. Nothing here knows VMs.
"""
