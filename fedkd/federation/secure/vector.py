"""What a client's vector holds under secure aggregation: its answers, and the counts that make up a round's scores.

    [logits on the public samples of the round | on the test split, where clients are measured | four counters]

Nothing else about a client leaves it. The rows of both parts go through the aggregator, so that the sum gives the
teacher on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from fedkd.aggregation import Aggregator, MeanAggregator, MeanLogits
from fedkd.config.experiment import ExperimentConfig, SecureAggregationConfig
from fedkd.data.federated import FederatedData
from fedkd.errors import PayloadError
from fedkd.federation.messages import TrainInstruction
from fedkd.methods import Method
from fedkd.secure_aggregation import (
    ClientPolicy,
    DecodedSum,
    Session,
    SessionParameters,
    VectorLayout,
    decode,
    encode,
    round_weights,
)
from fedkd.secure_aggregation.masking import RingArray
from fedkd.types import FloatArray

_LOSS_UNITS = 1000


@dataclass(frozen=True)
class Counts:
    """What is counted of each client, and summed over all.

    Attributes:
        num_examples: private samples.
        num_correct: right answers on the test split; 0 where clients are not measured.
        num_clipped: logits on public samples that were clipped.
        loss: the last local epoch's mean loss, in thousandths.
    """

    num_examples: int
    num_correct: int
    num_clipped: int
    loss: int

    @classmethod
    def of(cls, num_examples: int, num_correct: int, num_clipped: int, train_loss: float) -> Counts:
        """Counts of one client."""
        return cls(num_examples, num_correct, num_clipped, max(0, round(train_loss * _LOSS_UNITS)))

    @property
    def train_loss(self) -> float:
        """The loss again."""
        return self.loss / _LOSS_UNITS


@dataclass(frozen=True)
class SumOfClients:
    """What the server learns in a round: the teacher's logits [N, C] on the public samples and [M, C] on the test split
    (`None` where clients are not measured), both before sharpening, and the sums of the counts.
    """

    num_clients: int
    teacher_NC: FloatArray
    test_teacher_MC: FloatArray | None
    counts: Counts


@dataclass(frozen=True)
class SumTerms:
    """What is fixed for all sums of an experiment.

    Attributes:
        settings: the experiment's.
        aggregator: how the answers become a teacher.
        logit_range: logits are clipped to ± this.
        group_rule: what makes the teacher of the means of groups; `None` where there is one sum over all.
    """

    settings: SecureAggregationConfig
    aggregator: MeanAggregator
    logit_range: float
    group_rule: Aggregator | None = None

    @property
    def value_range(self) -> float:
        """Bound of what is summed."""
        return self.aggregator.largest_value(self.logit_range)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight; one where all clients count alike."""
        return self.settings.weight_bits if self.aggregator.weighted else 1

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
        num_public: N, public samples of the round.
        num_test: M, samples of the test split; 0 where clients are not measured.
        num_classes: C.
    """

    terms: SumTerms
    num_public: int
    num_test: int
    num_classes: int

    @property
    def layout(self) -> VectorLayout:
        """A weight for each row where the aggregator has them, else one for all."""
        rows, counters = self.num_public + self.num_test, len(Counts.__dataclass_fields__)
        if self.terms.aggregator.weighted:
            return VectorLayout(rows, self.num_classes, counters)
        return VectorLayout(1, rows * self.num_classes, counters)

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

    def encode(
        self, parameters: SessionParameters, logits_NC: FloatArray, test_logits_MC: FloatArray | None, counts: Counts
    ) -> RingArray:
        """One client's vector, from logits within ±logit_range.

        Raises:
            SecureAggregationError: a logit is not finite, or the shapes are not the layout's.
        """
        rows_RC = logits_NC if test_logits_MC is None else np.concatenate([logits_NC, test_logits_MC])
        values_RC = self.terms.aggregator.values(rows_RC)
        if self.terms.aggregator.weighted:
            rounded = round_weights(self.terms.aggregator.weights(rows_RC), self.terms.weight_bits)
            weights = np.maximum(rounded, 1)  # so that no row's mean is undefined
        else:
            values_RC, weights = values_RC.reshape(1, -1), np.ones(1, np.uint64)
        counters = [min(count, parameters.largest_entry) for count in astuple(counts)]
        return encode(values_RC, weights, parameters, counters_E=counters)

    def decode(self, total_D: RingArray, parameters: SessionParameters, num_clients: int) -> SumOfClients:
        """What the sum of `num_clients` vectors says.

        Raises:
            SecureAggregationError: no client gave any weight to a row.
        """
        decoded: DecodedSum = decode(total_D, parameters, num_clients)
        means_RC = decoded.means_GC.reshape(-1, self.num_classes)
        teacher_RC = self.terms.aggregator.finish(means_RC, parameters.step).astype(np.float32)
        return SumOfClients(
            num_clients,
            teacher_RC[: self.num_public],
            teacher_RC[self.num_public :] if self.num_test else None,
            Counts(*(int(count) for count in decoded.counters_E)),
        )


def plan_of(config: ExperimentConfig, method: Method, data: FederatedData, instruction: TrainInstruction) -> VectorPlan:
    """The layout that an instruction asks for; server and clients each derive it from what they hold.

    Raises:
        PayloadError: the method's aggregator is no mean, which is all that a masked sum gives.
    """
    return VectorPlan(
        terms_of(config, method),
        num_public=len(instruction.public_indices_N),
        num_test=len(data.test.labels_N) if instruction.evaluate else 0,
        num_classes=data.num_classes,
    )


def terms_of(config: ExperimentConfig, method: Method) -> SumTerms:
    """What is fixed for all sums of an experiment: in groups, whose means another rule compares, of logits.

    Raises:
        PayloadError: as `plan_of` does.
    """
    settings, rule = config.secure_aggregation, method.aggregate
    aggregator = MeanLogits() if settings.group_size else rule
    if not isinstance(aggregator, MeanAggregator):
        raise PayloadError("method", f"the aggregator of {method.name} is no mean; a masked sum gives nothing else")
    return SumTerms(settings, aggregator, config.payload.clipping_range, rule if settings.group_size else None)


def join_groups(groups: Sequence[SumOfClients], rule: Aggregator) -> SumOfClients:
    """The teacher that a rule makes of the groups' means, and the sums of all counts."""
    counts = (sum(each) for each in zip(*(astuple(group.counts) for group in groups), strict=True))
    tests = [group.test_teacher_MC for group in groups if group.test_teacher_MC is not None]
    return SumOfClients(
        num_clients=sum(group.num_clients for group in groups),
        teacher_NC=rule(np.stack([group.teacher_NC for group in groups])),
        test_teacher_MC=rule(np.stack(tests)) if tests else None,
        counts=Counts(*counts),
    )
