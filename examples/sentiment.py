"""Is a sentence about a film kind or not? The Stanford Sentiment Treebank, word by word, from scratch.

ELMAN_DATA says where the public data are (the folder that holds sst2/); ELMAN_QUICK makes it one short epoch.
"""

import os
import sys
from pathlib import Path

from elman.jobs import Classifier

films = Path(os.environ.get("ELMAN_DATA", "../shared/data")) / "sst2"
if not films.is_dir():
    print(f"skipped: no {films}; say with ELMAN_DATA where it is")
    sys.exit()

quick = {"epochs": 1, "hidden": 16} if os.environ.get("ELMAN_QUICK") else {}
classifier = Classifier(level="word", **quick)
classifier.fit(films / "train.txt", test=films / "dev.txt")

result = classifier.test()
for who, scores in {"this network": result["test"], **result["baselines"]}.items():
    print(f"{who:14} accuracy {scores['accuracy']:.3f}")
print(f"calibration error {result['calibration']['error_before']:.3f} -> {result['calibration']['error_after']:.3f}")

found = classifier.predict(["a joy from beginning to end", "tedious , long and dull"])
print(found.labels, found.probabilities[:, 1].round(2))
assert result["test"]["accuracy"] > result["baselines"]["majority"]["accuracy"]
