"""dspy.Evaluate over the cases, as its documentation shows: `python dspy_client.py CASES BASE_URL THREADS`."""

import json
import sys
from pathlib import Path

import dspy

cases, base_url, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
dspy.configure(lm=dspy.LM("openai/mock", api_base=base_url, api_key="none", temperature=0.0, max_tokens=8))
rows = [json.loads(line) for line in cases.read_text().splitlines()]
devset = [dspy.Example(question=row["input"], answer=row["expected"]).with_inputs("question") for row in rows]


def right(example: dspy.Example, predicted: dspy.Prediction, trace: object = None) -> bool:
    """Compare exactly."""
    return bool(predicted.answer == example.answer)


evaluate = dspy.Evaluate(devset=devset, metric=right, num_threads=threads, display_progress=False)
result = evaluate(dspy.Predict("question -> answer"))
print(json.dumps({"score": float(result.score) / 100, "answered": len(result.results)}))
