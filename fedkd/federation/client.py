"""What a client does in a round: adopt, train, answer the public samples, send through the seam. Knows no Flower."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import nn

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation import Distiller, relation_terms
from fedkd.federation.messages import ClientMetrics, Hello, TrainInstruction, TrainReply
from fedkd.federation.weights import load_weights, read_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Method
from fedkd.models.batch_norm import BatchNormAlignment, has_statistics
from fedkd.payload import PayloadSeam
from fedkd.secure_aggregation import Credentials
from fedkd.seeding import derive_seed
from fedkd.training.evaluation import predict_logits
from fedkd.training.local_terms import Proximal
from fedkd.training.loop import train_supervised
from fedkd.types import FloatArray


@dataclass(frozen=True)
class Work:
    """What a client has at the end of its part of a round, nothing of which has left it yet.

    Attributes:
        weights: its model.
        num_examples: private samples it trained on.
        train_loss: mean loss of its last local epoch.
        logits_NC: its answers on the public samples of the round; `None` where weights travel.
        test_logits_MC: on the test split, bounded; `None` where clients are not measured.
        training_seconds, public_inference_seconds, evaluation_seconds: wall time.
    """

    weights: Weights
    num_examples: int
    train_loss: float
    logits_NC: FloatArray | None
    test_logits_MC: FloatArray | None
    training_seconds: float
    public_inference_seconds: float
    evaluation_seconds: float


@dataclass(frozen=True)
class Client:
    """One participant.

    Attributes:
        client: partition id.
        config: the experiment.
        method: its composed method.
        workspace: its data.
        credentials: what it signs with under secure aggregation; `None` where it does not.
    """

    client: int
    config: ExperimentConfig
    method: Method
    workspace: Workspace
    credentials: Credentials | None = None

    def hello(self) -> Hello:
        """Say who this is and which public set it holds."""
        return Hello(
            client=self.client,
            architecture=self.config.client_model(self.client),
            num_classes=self.workspace.data.num_classes,
            public_digest=self.workspace.data.public_digest,
        )

    def initial_model(self) -> nn.Module:
        """The model a client has before it took part in any round."""
        seed = derive_seed(self.config.run.seed, "client", self.client, "model")
        return self.workspace.build_model(self.config.client_model(self.client), seed)

    @property
    def is_replaced_every_round(self) -> bool:
        """Whether every instruction brings the server's model of this client's architecture, so that the client need
        not keep its own.
        """
        kept = self.method.server_models(self.config.student.model, self.config.clients.models)
        return self.method.adopts == "model" and self.config.client_model(self.client) in kept

    def train(self, instruction: TrainInstruction, own_weights: Weights | None) -> tuple[TrainReply, Weights]:
        """Take part in a round.

        Args:
            instruction: what to adopt and which public samples to answer.
            own_weights: this client's model as it left it in its last round; `None` in its first.

        Returns:
            The reply, and the model to keep for the next round.

        Raises:
            PayloadError: the instruction does not fit this client, or its logits are not finite.
        """
        work = self.work(instruction, own_weights)
        logits, clipped_fraction = None, 0.0
        if work.logits_NC is not None:
            logits, clipped_fraction = PayloadSeam(self.config.payload).send(work.logits_NC)
        reply = TrainReply(
            client=self.client,
            server_round=instruction.server_round,
            public_digest=self.workspace.data.public_digest,
            metrics=ClientMetrics(
                num_examples=work.num_examples,
                train_loss=work.train_loss,
                clipped_fraction=clipped_fraction,
                training_seconds=work.training_seconds,
                public_inference_seconds=work.public_inference_seconds,
                evaluation_seconds=work.evaluation_seconds,
            ),
            logits=logits,
            weights=work.weights if self.method.sends == "weights" else None,
            test_logits=work.test_logits_MC,
        )
        return reply, work.weights

    def work(self, instruction: TrainInstruction, own_weights: Weights | None) -> Work:
        """Do all that `train` does, but for the reply."""
        model = self.initial_model()
        if own_weights is not None:
            load_weights(model, own_weights)
        started = time.perf_counter()
        self._adopt(model, instruction)
        followed = copy.deepcopy(model).eval() if self._follows(model, instruction) else None
        images_NCHW, labels_N = self.workspace.client(self.client)
        losses = train_supervised(
            model,
            images_NCHW,
            labels_N,
            self.config.training,
            num_classes=self.workspace.data.num_classes,
            seed=self._seed(instruction, "training"),
            terms=(Proximal(self.method.proximal_mu),) if self.method.proximal_mu else (),
            server_round=instruction.server_round,
            num_rounds=self.config.run.rounds,
        )
        trained = time.perf_counter()
        logits_NC = None
        with _answering_through(followed, model):
            if self.method.sends == "logits":
                logits_NC = predict_logits(model, self.workspace.public_inputs_at(instruction.public_indices_N))
            answered = time.perf_counter()
            test_logits_MC = self._answer_test_split(model) if instruction.evaluate else None
        return Work(
            weights=read_weights(model),
            num_examples=len(labels_N),
            train_loss=losses[-1] if losses else 0.0,
            logits_NC=logits_NC,
            test_logits_MC=test_logits_MC,
            training_seconds=trained - started,
            public_inference_seconds=answered - trained,
            evaluation_seconds=time.perf_counter() - answered,
        )

    def _seed(self, instruction: TrainInstruction, purpose: str) -> int:
        return derive_seed(self.config.run.seed, "client", self.client, "round", instruction.server_round, purpose)

    def _adopt(self, model: nn.Module, instruction: TrainInstruction) -> None:
        if instruction.weights is not None:
            load_weights(model, instruction.weights)
        elif instruction.consensus is not None:
            batch = self.workspace.public_batch(*instruction.consensus)
            method = self.config.method
            distiller = Distiller(
                model,
                method.digestion,
                temperature=method.temperature,
                alpha=method.alpha,
                label_smoothing=method.label_smoothing,
                terms=relation_terms(method.digestion.terms),
            )
            seed, num_rounds = self._seed(instruction, "digestion"), self.config.run.rounds
            distiller.distil(batch, seed, instruction.server_round, num_rounds)

    def _follows(self, model: nn.Module, instruction: TrainInstruction) -> bool:
        """Whether the client answers through the batch norm of the student that it has just adopted; not through that
        of one that no batch has passed yet.
        """
        aligned = self.config.method.batch_norm_alignment and instruction.weights is not None
        return aligned and has_statistics(model)

    def _answer_test_split(self, model: nn.Module) -> FloatArray:
        """Bounded as everything that leaves, in float32 as it serves only the measurement."""
        return PayloadSeam(self.config.payload).bound(predict_logits(model, self.workspace.test_inputs))[0]


def _answering_through(student: nn.Module | None, model: nn.Module) -> AbstractContextManager[object]:
    """Align the batch norm of a trained model to a student's for as long as it answers; no student, no change."""
    return nullcontext() if student is None else BatchNormAlignment(model.eval(), student)
