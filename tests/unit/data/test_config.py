import pytest
from pydantic import ValidationError

from fedkd.data.config import DataConfig, HeterogeneityConfig, PartitionConfig, PublicConfig


def test_defaults_are_the_first_run():
    config = DataConfig()
    assert (config.source, config.public.source, config.public.size) == ("digits", "same", 400)
    assert (config.partition.kind.name, config.partition.dirichlet_alpha, config.partition.min_size) == (
        "dirichlet",
        0.3,
        10,
    )
    assert config.partition.self_balancing
    assert not config.public.labelled


def test_every_key_is_described():
    for section in (DataConfig, PublicConfig, PartitionConfig, HeterogeneityConfig):
        for key, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{key}"


def test_sections_hash_and_compare_by_value():
    one, same = DataConfig(), DataConfig(public=PublicConfig())
    assert hash(one) == hash(same)
    assert one == same
    assert one != DataConfig(partition=PartitionConfig(dirichlet_alpha=0.1))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"source": "minst"}, "did you mean 'mnist'"),
        ({"public": {"source": "kmnst"}}, "did you mean 'kmnist'"),
        ({"public": {"size": 0}}, "public.size"),
        ({"partition": {"dirichlet_alpha": 0}}, "dirichlet_alpha"),
        ({"partition": {"dirichlet_alpha": float("nan")}}, "dirichlet_alpha"),
        ({"partition": {"kind": "dirichle"}}, "partition.kind"),
        ({"partition": {"min_size": 0}}, "min_size"),
        ({"heterogeneity": {"label_noise": 1.0}}, "label_noise"),
        ({"heterogeneity": {"feature_shift_strength": -0.1}}, "feature_shift_strength"),
        ({"train_size": 0}, "train_size"),
        ({"image_size": 0}, "image_size"),
        ({"sauce": "digits"}, "sauce"),
        ({"source": "mnist", "public": {"source": "mnist"}}, "is the private source itself"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(values, match):
    with pytest.raises(ValidationError, match=match):
        DataConfig.model_validate(values)


def test_the_public_set_may_come_from_another_root_of_the_same_format():
    config = DataConfig(source="npz", root="a.npz", public=PublicConfig(source="npz", root="b.npz"))
    assert config.public.root == "b.npz"
