"""What a client's vector holds under secure aggregation: its rows, and the counts that make up a round's scores.

    [rows for the keys of the round | rows on the test split, where the teacher is measured | counters]

Nothing else about a client leaves it. The rows of both parts go through the aggregator, so that the sum gives the
teacher on both. A row that a client does not have has weight 0; the mean of a row to which nobody gave any weight does
not exist, and the teacher lacks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from fedkd.aggregation import Aggregator, MeanAggregator, MeanLogits, Stack
from fedkd.config.experiment import ExperimentConfig, SecureAggregationConfig
from fedkd.data.federated import FederatedData
from fedkd.errors import PayloadError
from fedkd.federation.client import Work
from fedkd.federation.messages import TrainInstruction
from fedkd.federation.seams import sent_spec
from fedkd.methods import Method
from fedkd.payload import Rows, RowsSpec
from fedkd.secure_aggregation import (
    ClientPolicy,
    Session,
    SessionParameters,
    VectorLayout,
    decode,
    encode,
    round_weights,
)
from fedkd.secure_aggregation.masking import RingArray
from fedkd.types import IntArray

_LOSS_UNITS = 1000


@dataclass(frozen=True)
class Counts:
    """What is counted of each client, and summed over all.

    Attributes:
        num_examples: private samples.
        num_correct, num_answered: right answers on the test split, and samples of it; 0 where clients are not measured.
        num_clipped, num_values: values that the bound has changed, and values in all.
        loss: the last local epoch's mean loss, in thousandths.
    """

    num_examples: int
    num_correct: int
    num_answered: int
    num_clipped: int
    num_values: int
    loss: int

    @classmethod
    def of(cls, work: Work, labels_M: IntArray) -> Counts:
        """Counts of one client's work."""
        logits_MC, num_values = work.test_logits_MC, 0 if work.outgoing is None else work.outgoing.rows.values_ND.size
        measured = logits_MC is not None
        return cls(
            num_examples=work.num_examples,
            num_correct=int(np.count_nonzero(logits_MC.argmax(axis=1) == labels_M)) if logits_MC is not None else 0,
            num_answered=len(labels_M) if measured else 0,
            num_clipped=round(work.clipped_fraction * num_values),
            num_values=num_values,
            loss=max(0, round(work.train_loss * _LOSS_UNITS)),
        )

    @property
    def train_loss(self) -> float:
        """The loss again."""
        return self.loss / _LOSS_UNITS


@dataclass(frozen=True)
class SumOfClients:
    """What the server learns in a round.

    Attributes:
        num_clients: clients in the sum.
        fresh: the teacher's rows before refinement.
        test: likewise on the test split; `None` where the teacher is not measured.
        counts: sums over the clients.
    """

    num_clients: int
    fresh: Rows
    test: Rows | None
    counts: Counts


@dataclass(frozen=True)
class SumTerms:
    """What is fixed for all sums of an experiment.

    Attributes:
        settings: the experiment's.
        aggregator: how rows become a teacher.
        spec: of the rows, as they leave a client.
        group_rule: what makes the teacher of the means of groups; `None` where there is one sum over all.
    """

    settings: SecureAggregationConfig
    aggregator: MeanAggregator
    spec: RowsSpec
    group_rule: Aggregator | None = None

    @property
    def value_range(self) -> float:
        """Bound of what is summed."""
        return self.aggregator.largest_value(self.spec.bound)

    @property
    def weighted(self) -> bool:
        """Whether each row has a weight of its own."""
        return self.spec.weighted or self.aggregator.weighted

    @property
    def weight_bits(self) -> int:
        """Bits of a weight; one where all rows of all clients count alike."""
        return self.settings.weight_bits if self.weighted else 1

    @property
    def policy(self) -> ClientPolicy:
        """What a client insists on."""
        return ClientPolicy(
            trust=self.settings.trust,
            clipping_range=self.value_range,
            value_bits=self.settings.value_bits,
            weight_bits=self.weight_bits,
            minimum_cohort=self.settings.minimum_cohort,
            refuse_adjacent_cohorts=self.settings.refuse_adjacent_cohorts,
        )


@dataclass(frozen=True)
class VectorPlan:
    """How a round's vectors are laid out.

    Attributes:
        terms: those of the experiment.
        asked_N: the keys that are asked for.
        num_test: M, samples of the test split; 0 where the teacher is not measured.
    """

    terms: SumTerms
    asked_N: IntArray
    num_test: int

    @property
    def layout(self) -> VectorLayout:
        """A weight for each row where rows have them, else one for all."""
        rows, counters, width = (
            len(self.asked_N) + self.num_test,
            len(Counts.__dataclass_fields__),
            self.terms.spec.width,
        )
        if self.terms.weighted:
            return VectorLayout(rows, width, counters)
        return VectorLayout(1, rows * width, counters)

    @property
    def evaluation_bytes(self) -> int:
        """Bytes of a packed vector that serve only the measurement."""
        entries = self.num_test * (self.terms.spec.width + self.terms.weighted)
        return entries * self.terms.settings.ring_bits // 8

    def parameters(
        self, session: Session, num_clients: int, *, public_set_digest: bytes, student_digest: bytes
    ) -> SessionParameters:
        """The parameters of a round's sum.

        Raises:
            SecureAggregationError: the ring is too small for so many clients.
        """
        return SessionParameters(
            session=session,
            num_clients=num_clients,
            trust=self.terms.settings.trust,
            ring_bits=self.terms.settings.ring_bits,
            value_bits=self.terms.settings.value_bits,
            weight_bits=self.terms.weight_bits,
            clipping_range=self.terms.value_range,
            layout=self.layout,
            public_set_digest=public_set_digest,
            student_digest=student_digest,
        )

    def encode(self, parameters: SessionParameters, rows: Rows, test_rows: Rows | None, counts: Counts) -> RingArray:
        """One client's vector, from rows that the seam has passed.

        Raises:
            SecureAggregationError: a value is not finite, or the shapes are not the layout's.
        """
        values_RD, weights_R = rows.dense(self.asked_N)
        if test_rows is not None:
            test_values_MD, test_weights_M = test_rows.dense(np.arange(self.num_test))
            values_RD = np.concatenate([values_RD, test_values_MD])
            weights_R = np.concatenate([weights_R, test_weights_M])
        summed_RD = self.terms.aggregator.values(values_RD)
        counters = [min(count, parameters.largest_entry) for count in astuple(counts)]
        if not self.terms.weighted:
            return encode(summed_RD.reshape(1, -1), np.ones(1, np.uint64), parameters, counters_E=counters)
        shares_R = weights_R.astype(np.float64) / self.terms.spec.largest_weight
        shares_R *= self.terms.aggregator.weights(values_RD)
        levels_R = round_weights(shares_R, self.terms.weight_bits)
        levels_R = np.where(shares_R > 0, np.maximum(levels_R, 1), 0).astype(np.uint64)  # a row that is there counts
        return encode(summed_RD, levels_R, parameters, counters_E=counters)

    def decode(self, total_V: RingArray, parameters: SessionParameters, num_clients: int) -> SumOfClients:
        """What the sum of `num_clients` vectors says."""
        decoded = decode(total_V, parameters, num_clients)
        width, num_asked = self.terms.spec.width, len(self.asked_N)
        totals_RD = decoded.totals_GC.reshape(-1, width)
        weights_R = np.broadcast_to(decoded.total_weights_G, len(totals_RD)).astype(np.float64)
        finish, step = self.terms.aggregator.from_sums, parameters.step
        test = None
        if self.num_test:
            test = finish(np.arange(self.num_test), totals_RD[num_asked:], weights_R[num_asked:], step)
        return SumOfClients(
            num_clients,
            finish(self.asked_N, totals_RD[:num_asked], weights_R[:num_asked], step),
            test,
            Counts(*(int(count) for count in decoded.counters_E)),
        )


def plan_of(config: ExperimentConfig, method: Method, data: FederatedData, instruction: TrainInstruction) -> VectorPlan:
    """The layout that an instruction asks for; server and clients each derive it from what they hold.

    Raises:
        PayloadError: the method cannot run under masks.
    """
    terms = terms_of(config, method, data.num_classes)
    measured = instruction.evaluate and terms.spec.keys == "public"
    return VectorPlan(terms, instruction.asked_N.astype(np.int64), len(data.test.labels_N) if measured else 0)


def terms_of(config: ExperimentConfig, method: Method, num_classes: int) -> SumTerms:
    """What is fixed for all sums of an experiment: in groups, whose means another rule compares, of logits.

    Raises:
        PayloadError: the method cannot run under masks.
    """
    settings, rule, upload = config.secure_aggregation, method.aggregate, method.rows_upload
    aggregator = MeanLogits() if settings.group_size else rule
    if not isinstance(aggregator, MeanAggregator) or upload is None:
        raise PayloadError("method", f"{method.name} under masks: {method.refused_under_masks(config.payload.bound)}")
    return SumTerms(settings, aggregator, sent_spec(config, upload, num_classes), rule if settings.group_size else None)


def join_groups(groups: Sequence[SumOfClients], rule: Aggregator, plan: VectorPlan) -> SumOfClients:
    """The teacher that a rule makes of the groups' means, and the sums of all counts."""
    counts = (sum(each) for each in zip(*(astuple(group.counts) for group in groups), strict=True))
    stack = Stack.of({number: group.fresh for number, group in enumerate(groups)}, plan.asked_N)
    combine, _ = rule.fit(stack, rule.initial(stack.clients_K))
    tests = {number: group.test for number, group in enumerate(groups) if group.test is not None}
    return SumOfClients(
        num_clients=sum(group.num_clients for group in groups),
        fresh=combine(stack),
        test=combine(Stack.of(tests, np.arange(plan.num_test))) if tests else None,
        counts=Counts(*counts),
    )
