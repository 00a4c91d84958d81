"""Selective-FD (Shao et al. 2024): a client answers only samples that look like its own, by the density ratio of its
private data to uniform noise (KuLSIF, Kanamori et al. 2012): `method.upload = "selective_fd:selective_logits"`.
"""

import numpy as np

from fedkd.methods.uploads import ClientView, PublicLogits, Selected


def kernel(x, y, width):
    """Gaussian kernel [N, M]."""
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.exp(-squares / (2 * width**2))


def density_ratio(private, noise, x, width=5.0):
    """r(x) = p_private(x) / p_noise(x) up to the fit of KuLSIF, with lambda = M^-1/2 for M samples of noise."""
    num_private, num_noise = len(private), len(noise)
    strength = num_noise**-0.5
    right = kernel(noise, private, width).sum(1) / (num_private * strength)
    alpha = np.linalg.solve(kernel(noise, noise, width) / num_noise + strength * np.eye(num_noise), -right / num_noise)
    return kernel(x, noise, width) @ alpha + kernel(x, private, width).sum(1) / (num_private * strength)


def selector(quantile, num_noise):
    """Keep what is as likely as all but the least likely of the client's own samples."""

    def select(view: ClientView, asked_N, memory):
        private, _ = view.private_inputs()
        noise = np.random.default_rng(0).uniform(private.min(), private.max(), (num_noise, private.shape[1]))
        half = len(private) // 2
        held_out = density_ratio(private[:half], noise, private[half:])
        ratio = density_ratio(private[:half], noise, view.public_inputs(asked_N))
        return (ratio >= np.quantile(held_out, quantile)).astype(np.float32), memory

    return select


def selective_logits(quantile: float = 0.25, num_noise: int = 50) -> Selected:
    """Logits on the public samples that the client knows something of."""
    return Selected(PublicLogits(), selector(quantile, num_noise))
