"""The command line: one file per command group, no logic."""

import gc

# At the default of 700 objects the collector looks through all that is being imported again and again, which is a tenth
# of the time that a short command takes.
gc.set_threshold(50_000)
