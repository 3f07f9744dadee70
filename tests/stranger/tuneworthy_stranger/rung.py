"""The rung `politeness`: does asking politely help?"""

from dataclasses import replace

from tuneworthy.ladder.rung import Proposal, Rung, View, rung


@rung("politeness")
class Politeness(Rung):
    """Tries the best variant so far with "Please." before its system prompt."""

    async def propose(self, view: View) -> Proposal:
        if view.best is None:
            return Proposal(skipped="There is no variant to build on.")
        polite = replace(view.best, name="politeness/please", system=f"Please. {view.best.system or ''}")
        return Proposal(candidates=[polite])
