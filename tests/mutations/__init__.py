"""Rules of the job protocol, broken on purpose, one at a time: the tests named beside each must notice.

A mutation is a small replacement of text in a copy of the tree. One that no test notices shows a hole in the tests; one
whose text is not found any more has to be written again for the code as it is now. ``make mutations`` runs them all.
"""
