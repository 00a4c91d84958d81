"""Trust over rounds: a client far from the median of the others loses weight, in every round a little more (ExpGuard,
Roux et al. 2025): `method.aggregator = { name = "trust_over_rounds:TrustOverRounds", eta = 5.0 }`.
"""

from dataclasses import dataclass

import numpy as np

from fedkd.aggregation import Aggregator, Stack, log_softmax
from fedkd.payload import Rows


@dataclass(frozen=True)
class TrustOverRounds(Aggregator):
    """The weight of client k is exp(−eta · sum over rounds of its mean distance from the median)."""

    eta: float = 5.0

    def initial(self, clients):
        """Everybody is trusted alike."""
        return {"log_trust": np.zeros(len(clients))}

    def fit(self, stack: Stack, state):
        """Lower the trust of those who are far away; the rule then only weighs."""
        probs_KNC = np.exp(log_softmax(stack.values_KND))
        distance_K = np.linalg.norm(probs_KNC - np.median(probs_KNC, axis=0), axis=2).mean(axis=1)
        log_trust = state["log_trust"].copy()
        log_trust[list(stack.clients_K)] -= self.eta * distance_K
        trust_K = np.exp(log_trust[list(stack.clients_K)] - log_trust[list(stack.clients_K)].max())

        def rule(answered: Stack) -> Rows:
            probs = np.exp(log_softmax(answered.values_KND))
            mean = np.tensordot(trust_K / trust_K.sum(), probs, 1)
            return Rows.of(answered.keys_N, np.log(np.maximum(mean, 1e-12)))

        return rule, {"log_trust": log_trust}

    def combine(self, stack: Stack) -> Rows:
        """Without a state everybody counts alike."""
        return self.fit(stack, self.initial(range(max(stack.clients_K) + 1)))[0](stack)
