"""How well a search finds the documents that cases name: recall@k, MRR and nDCG, a number a question. Pure.

Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002 (nDCG).
"""

import math
from collections.abc import Collection, Sequence

MEASURES = ("recall@1", "recall@3", "recall@5", "recall@10", "mrr", "ndcg@10")
# Documents of a ranked list that are looked at.
DEEPEST = 10


def quality(ranked: Sequence[str], right: Sequence[Collection[str]]) -> dict[str, float]:
    """Return all `MEASURES` of one question.

    Args:
        ranked: Ids of documents, best first, each once.
        right: The ids behind each document that the case names. Any will do, as names may be shared, but a
            ranked document counts for one name only.

    >>> quality(["a", "b"], [{"b"}])["mrr"], quality(["a", "b"], [{"b"}])["recall@1"]
    (0.5, 0.0)
    """
    place = {document: number for number, document in enumerate(ranked[:DEEPEST], 1)}
    places = []
    for any_of in sorted(right, key=len):
        if hits := [document for document in any_of if document in place]:
            places.append(place.pop(min(hits, key=place.__getitem__)))
    ideal = sum(_gain(number) for number in range(1, min(len(right), DEEPEST) + 1))
    recall = {f"recall@{k}": sum(at <= k for at in places) / min(len(right), k) for k in (1, 3, 5, 10)}
    return {**recall, "mrr": 1 / min(places) if places else 0.0, "ndcg@10": sum(map(_gain, places)) / ideal}


def _gain(place: int) -> float:
    return 1 / math.log2(place + 1)
