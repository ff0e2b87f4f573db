# Make the cut of a plan file (`monge compress ... --save-plan plan.yaml`) in PyTorch, to train on:
#
#     import cut_in_pytorch
#     cut_in_pytorch.cut(network, "plan.yaml")
#
# The network's parameters have the names that they have in the ONNX file, as those that torch.onnx
# exports do unless it folds constants. It needs `pip install torch pyyaml`.
import torch
import yaml


def cut(network: torch.nn.Module, plan: str) -> None:
    """Keep the channels of a network that a plan file says, and drop the others."""
    with open(plan) as f:
        spaces = yaml.safe_load(f)["spaces"]
    for name, space in spaces.items():
        if space["width"] == space["channels"]:
            continue
        if "keep" not in space or "weights" not in space:
            raise ValueError(f"{name}: channels were mixed, or weights are shared: that is no cut")
        for weight, axes in space["weights"].items():
            path, _, attribute = weight.rpartition(".")
            module = network.get_submodule(path)
            tensor = getattr(module, attribute)
            for axis in axes:
                each = tensor.shape[axis] // space["channels"]  # positions of a channel, after Flatten
                index = torch.tensor([each * c + i for c in space["keep"] for i in range(each)])
                tensor = tensor.detach().index_select(axis, index.to(tensor.device))
            if isinstance(getattr(module, attribute), torch.nn.Parameter):
                tensor = torch.nn.Parameter(tensor)
            setattr(module, attribute, tensor)
            if getattr(module, "groups", 1) > 1:  # depthwise
                module.groups = module.weight.shape[0]
