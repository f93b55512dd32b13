"""What is asserted. A check is a function that reads and returns the problems it finds, in words.

A function is named after the problem that it looks for (`nodes.not_ready`), and an empty list means that all
is well. The same function serves a test that expects (`expect(problems)`) and one that waits
(`eventually(lambda: problems)`), and none of them changes anything.
"""
