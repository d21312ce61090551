"""From which language is a name? Names of 18 languages, a file a language, read letter by letter from both ends.

ELMAN_DATA says where the public data are (the folder that holds names/); ELMAN_QUICK makes it one short epoch.
"""

import os
import sys
from pathlib import Path

from elman.jobs import Classifier

names = Path(os.environ.get("ELMAN_DATA", "../shared/data")) / "names"
if not names.is_dir():
    print(f"skipped: no {names}; say with ELMAN_DATA where it is")
    sys.exit()

quick = {"epochs": 1, "hidden": 16} if os.environ.get("ELMAN_QUICK") else {}
classifier = Classifier(**quick)
classifier.fit(names)
print(*classifier.notes, sep="\n")

result = classifier.test()
for who, scores in {"this network": result["test"], **result["baselines"]}.items():
    print(f"{who:14} accuracy {scores['accuracy']:.3f}  macro-F1 {scores['macro_f1']:.3f}")

found = classifier.predict(["Satoshi", "Rahmaninov", "O'Donnell"])
for label, row in zip(found.labels, found.probabilities, strict=True):
    print(f"{label}, {row.max():.0%} sure")
assert result["test"]["accuracy"] > result["baselines"]["majority"]["accuracy"]
