"""FedAvg as a user of Flower writes it: torch in a client app, Flower's strategy, evaluation on the server.

Nothing of fedkd but the data, its partition and the model, so that the same samples are trained the same number of
times. Its results differ from fedkd's in the decimals: the order of samples is torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.child import Stopwatch
from benchmarks.engines import flower_simulation
from fedkd.config.experiment import ExperimentConfig
from fedkd.data.federated import cached_federated_data
from fedkd.data.images import to_float
from fedkd.models.registry import build_model


@lru_cache(maxsize=16)
def load_partition(config: ExperimentConfig, client: int) -> TensorDataset:
    """Training samples of one client, loaded once a process."""
    private = cached_federated_data(config.data, config.clients.number, config.run.seed).client(client)
    return TensorDataset(torch.from_numpy(to_float(private.images_NCHW)), torch.from_numpy(private.labels_N))


def make_model(config: ExperimentConfig) -> nn.Module:
    """The model."""
    data = cached_federated_data(config.data, config.clients.number, config.run.seed)
    return build_model(config.student.model, data.input_shape, data.num_classes, seed=0)


def make_client_app(config: ExperimentConfig) -> ClientApp:
    """Trains the model that comes and sends it back."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        model, training = make_model(config), config.training
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
        dataset = load_partition(config, int(context.node_config["partition-id"]))
        optimizer = torch.optim.SGD(model.parameters(), lr=training.learning_rate, momentum=training.momentum)
        loss = torch.zeros(())
        model.train()
        for _ in range(training.epochs):
            for images, labels in DataLoader(dataset, batch_size=training.batch_size, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        metrics = MetricRecord({"train_loss": float(loss), "num-examples": len(dataset)})
        return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)

    return app


class MarkedFedAvg(FedAvg):
    """Flower's FedAvg over all clients, which marks the beginning of the first round."""

    def __init__(self, watch: Stopwatch, num_clients: int) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=num_clients, min_available_nodes=num_clients)
        self._watch = watch

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Any:
        self._watch.begin()
        return super().configure_train(server_round, arrays, config, grid)


Simulate = Callable[[ClientApp, ServerApp, int], None]


def run_stock(watch: Stopwatch, config: ExperimentConfig, simulate: Simulate = flower_simulation) -> dict[str, Any]:
    """Run FedAvg under a simulation, Flower's by default; tells the accuracy after the last round."""
    accuracies = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        model = make_model(config)
        test = cached_federated_data(config.data, config.clients.number, config.run.seed).test
        images, labels = torch.from_numpy(to_float(test.images_NCHW)), torch.from_numpy(test.labels_N)

        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
            model.load_state_dict(arrays.to_torch_state_dict())
            accuracies.append(accuracy(model, images, labels))
            if server_round > 0:
                watch.end()
            return MetricRecord({"accuracy": accuracies[-1]})

        strategy = MarkedFedAvg(watch, config.clients.number)
        initial = ArrayRecord(model.state_dict())
        strategy.start(grid, initial, num_rounds=config.run.rounds, evaluate_fn=evaluate)

    simulate(make_client_app(config), app, config.clients.number)
    return {"student_accuracy": accuracies[-1]}


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    model.eval()
    with torch.inference_mode():
        predictions = torch.cat([model(batch).argmax(dim=1) for batch in torch.split(images, 512)])
    return float((predictions == labels).float().mean())
