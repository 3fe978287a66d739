"""The default resources of training tasks fit the backbones."""

from components.train.backbones.registry import BACKBONES
from pipelines.resources import TrainingResources, split_by_size


def test_every_backbone_fits_the_resources_of_its_size() -> None:
    resources = TrainingResources()
    standard, large = split_by_size(list(BACKBONES), resources)
    assert {"convnext_large", "efficientnetv2_l", "nasnet_large"} == set(large)
    for names, task in ((standard, resources.standard), (large, resources.large)):
        for name in names:
            assert BACKBONES[name].gpu.memory_gb <= task.gpu_memory_gb
            assert BACKBONES[name].gpu.pod_memory_gb <= int(task.memory.removesuffix("Gi"))
            assert BACKBONES[name].gpu.count <= task.count
