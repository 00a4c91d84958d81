"""What a client does in a round: adopt, train, make its rows, pass them through the seam. Knows no Flower."""

from __future__ import annotations

import copy
import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig, at
from fedkd.data.config import SITES
from fedkd.distillation import Distiller
from fedkd.distillation.temperature import Setting
from fedkd.federation.client_view import ModelView
from fedkd.federation.messages import ClientMetrics, Hello, TrainInstruction, TrainReply
from fedkd.federation.seams import client_seam
from fedkd.federation.weights import load_weights, read_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Method
from fedkd.methods.uploads import Upload
from fedkd.models.batch_norm import BatchNormAlignment, has_statistics
from fedkd.payload import Arrays, Outgoing, Rows, Seam
from fedkd.secure_aggregation import Credentials
from fedkd.seeding import derive_seed, numpy_rng
from fedkd.training.evaluation import predict_logits
from fedkd.training.local_terms import ToldRows
from fedkd.training.loop import train_supervised
from fedkd.types import FloatArray, IntArray


@dataclass(frozen=True)
class ClientState:
    """What a client keeps between rounds.

    Attributes:
        model: its weights; `None` before its first round, and where the server's take their place in every round.
        upload: what its upload remembers.
        codec: what its codec remembers of its last message.
        codec_round: the round of that message; 0 for none.
    """

    model: Weights | None = None
    upload: Arrays = field(default_factory=dict)
    codec: Arrays = field(default_factory=dict)
    codec_round: int = 0


@dataclass(frozen=True)
class Work:
    """What a client has at the end of its part of a round, nothing of which has left it yet.

    Attributes:
        weights: its model.
        upload_memory: what its upload remembers.
        num_examples: private samples it trained on.
        train_loss: mean loss of its last local epoch.
        outgoing: its rows, as they may leave; `None` where it sends none.
        test_logits_MC: on the test split, bounded; `None` where clients are not measured.
        test_rows: the same upload made on the test split, as it may leave; `None` where there is nothing to compare.
        training_seconds, public_inference_seconds, evaluation_seconds: wall time.
    """

    weights: Weights
    upload_memory: Arrays
    num_examples: int
    train_loss: float
    outgoing: Outgoing | None
    test_logits_MC: FloatArray | None
    test_rows: Rows | None
    training_seconds: float
    public_inference_seconds: float
    evaluation_seconds: float

    @property
    def clipped_fraction(self) -> float:
        """Share of the values that the bound has changed."""
        return 0.0 if self.outgoing is None else self.outgoing.clipped_fraction


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

    @property
    def seam(self) -> Seam:
        """The steps and codecs of this client."""
        return client_seam(self.config, self.client)

    def train(self, instruction: TrainInstruction, state: ClientState) -> tuple[TrainReply, ClientState]:
        """Take part in a round in which the server may see this client's rows.

        Args:
            instruction: what to adopt and which keys are asked for.
            state: as this client left it in its last round.

        Returns:
            The reply, and the state to keep for the next round.

        Raises:
            PayloadError: the instruction does not fit this client, or its rows are not finite.
        """
        work = self.work(instruction, state)
        wire, codec_memory, based_on = None, state.codec, 0
        if work.outgoing is not None:
            out, asked_N = work.outgoing, instruction.asked_N.astype(np.int64)
            if 0 < state.codec_round == instruction.used_round:
                based_on = state.codec_round
            wire, codec_memory = self.seam.encode(out.rows, out.spec, asked_N, state.codec if based_on else {})
        reply = TrainReply(
            client=self.client,
            server_round=instruction.server_round,
            public_digest=self.workspace.data.public_digest,
            metrics=ClientMetrics(
                num_examples=work.num_examples,
                train_loss=work.train_loss,
                clipped_fraction=work.clipped_fraction,
                training_seconds=work.training_seconds,
                public_inference_seconds=work.public_inference_seconds,
                evaluation_seconds=work.evaluation_seconds,
            ),
            rows=wire,
            weights=work.weights if self.method.sends_model else None,
            test_logits=work.test_logits_MC,
            test_rows=None if _are_logits(work.test_rows, work.test_logits_MC) else work.test_rows,
            based_on=based_on,
        )
        return reply, self.kept(work, codec_memory, instruction.server_round)

    def kept(self, work: Work, codec_memory: Arrays, server_round: int) -> ClientState:
        """The state after a round."""
        model = None if self.is_replaced_every_round else work.weights
        return ClientState(model, work.upload_memory, codec_memory, server_round if codec_memory else 0)

    def work(self, instruction: TrainInstruction, state: ClientState) -> Work:
        """Do all that `train` does, but for the reply."""
        model = self.initial_model()
        if state.model is not None:
            load_weights(model, state.model)
        started = time.perf_counter()
        told = self._told(instruction)
        self._adopt(model, instruction, told)
        followed = copy.deepcopy(model).eval() if self._follows(model, instruction) else None
        inputs, labels_N = self.workspace.client(self.client)
        losses = train_supervised(
            model,
            inputs,
            labels_N,
            self.config.training,
            num_classes=self.workspace.data.num_classes,
            seed=self._seed(instruction, "training"),
            terms=self.method.local_terms,
            told=self._for_terms(told),
            server_round=instruction.server_round,
            num_rounds=self.config.run.rounds,
        )
        trained = time.perf_counter()
        outgoing, test_logits_MC, test_rows, memory = None, None, None, state.upload
        upload = self.method.rows_upload
        with _answering_through(followed, model):
            if upload is not None:
                asked_N = instruction.asked_N.astype(np.int64)
                view = ModelView(model, self.workspace, self.client)
                rows, memory = upload.make(view, asked_N, state.upload)
                outgoing = self._outgoing(upload, rows, asked_N, instruction, "rows")
            answered = time.perf_counter()
            if instruction.evaluate:
                answers_MC = predict_logits(model, self.workspace.test_inputs)
                bound = self.config.payload.bound
                test_logits_MC = answers_MC.clip(-bound, bound)  # in float32, as it serves only the measurement
                test_rows = self._test_rows(ModelView(model, self.workspace, self.client, answers_MC), instruction)
        return Work(
            weights=read_weights(model),
            upload_memory=memory,
            num_examples=len(labels_N),
            train_loss=losses[-1] if losses else 0.0,
            outgoing=outgoing,
            test_logits_MC=test_logits_MC,
            test_rows=test_rows,
            training_seconds=trained - started,
            public_inference_seconds=answered - trained,
            evaluation_seconds=time.perf_counter() - answered,
        )

    def _seed(self, instruction: TrainInstruction, purpose: str) -> int:
        return derive_seed(self.config.run.seed, "client", self.client, "round", instruction.server_round, purpose)

    def _told(self, instruction: TrainInstruction) -> Rows | None:
        """The rows that the server sent, decoded."""
        told = instruction.told
        if told is None:
            return None
        return self.seam.decode_down(told.wire, told.keys_M.astype(np.int64), told.width)

    def _for_terms(self, told: Rows | None) -> ToldRows | None:
        """The same as terms of local training take them, where one needs them."""
        if told is None or not any(term.needs_rows for term in self.method.local_terms):
            return None
        return self.workspace.told_rows(told)

    def _adopt(self, model: nn.Module, instruction: TrainInstruction, told: Rows | None) -> None:
        if instruction.weights is not None:
            load_weights(model, instruction.weights)
        elif told is not None and len(told) and self.method.adopts != "nothing":
            batch = self.workspace.public_batch(told.keys_N, told.values_ND)
            config = self.config if instruction.setting is None else at(self.config, Setting(*instruction.setting))
            seed = self._seed(instruction, "digestion")  # an earlier name of it, kept for the bits of seeded results
            distiller = Distiller(model, config.method.local_distillation)
            distiller.distil(batch, seed, instruction.server_round, self.config.run.rounds)

    def _follows(self, model: nn.Module, instruction: TrainInstruction) -> bool:
        """Whether the client answers through the batch norm of the student that it has just adopted; not through that
        of one that no batch has passed yet.
        """
        aligned = self.config.method.batch_norm_alignment and instruction.weights is not None
        return aligned and has_statistics(model)

    def _outgoing(
        self, upload: Upload, rows: Rows, asked_N: IntArray, instruction: TrainInstruction, purpose: str
    ) -> Outgoing:
        """Pass rows through the steps, whose randomness is secret at a site: the server knows the seed."""
        spec = upload.spec(self.workspace.data.num_classes, self.config.payload.bound)
        stream = ("client", self.client, "round", instruction.server_round, purpose)
        at_site = self.config.data.source == SITES
        rng = np.random.default_rng(secrets.randbits(256)) if at_site else numpy_rng(self.config.run.seed, *stream)
        return self.seam.outgoing(rows, spec, asked_N, rng)

    def _test_rows(self, view: ModelView, instruction: TrainInstruction) -> Rows | None:
        """The upload made on the test split, of which the teacher there is made. Its memory is of public samples, and
        stays out of it.
        """
        upload = self.method.rows_upload
        if upload is None or upload.spec(view.num_classes, self.config.payload.bound).keys != "public":
            return None
        test_M = np.arange(len(self.workspace.data.test.labels_N))
        rows, _ = upload.make(view, test_M, {})
        return self._outgoing(upload, rows, test_M, instruction, "test rows").rows


def _are_logits(rows: Rows | None, logits_MC: FloatArray | None) -> bool:
    """Whether rows on the test split are nothing but the logits there."""
    if rows is None or logits_MC is None:
        return True
    return np.array_equal(rows.values_ND, logits_MC) and bool((rows.weights_N == 1).all())


def _answering_through(student: nn.Module | None, model: nn.Module) -> AbstractContextManager[object]:
    """Align the batch norm of a trained model to a student's for as long as it answers; no student, no change."""
    return nullcontext() if student is None else BatchNormAlignment(model.eval(), student)
