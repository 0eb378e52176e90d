"""The four ids that are no items."""

PAD = 0  # fills rows and parts windows; inert
UNK = 1  # an item outside the vocabulary
MASK = 2  # hides an item in masked pretraining
TCL = 3  # the task token; each task trains its own embedding of it
FIRST_ITEM = 4
