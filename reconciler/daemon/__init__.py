"""``ckptree run``: look again whenever something may have changed, and let each VM follow its document.

Decides nothing about a VM: that is ``plan``'s, and ``execute.apply`` carries it out, for people and daemon alike.
"""
