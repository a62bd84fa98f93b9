"""The process beside ckptree that keeps one guest: it starts it, holds it frozen, and lets it go on, come what may.

``python -m reconciler.keeper``, started by ``drivers.guests`` and alive as long as its guest. ckptree may be killed
or restarted at any moment: the keeper notices a caller that is gone and lets a frozen guest go on.
"""
