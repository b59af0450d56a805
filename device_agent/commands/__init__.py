"""Commands from afar: each is done at most once and ends in exactly one state, which its topic shows in the end.

Layout:
    door.py    where the broker's connection hands requests in, bounded
    desk.py    what is taken on, refused, begun and told; time is passed in
    post.py    the three joined to the agent
    ledger.py  what became of the commands, on disk
"""
