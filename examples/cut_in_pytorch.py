# Make the cut of a plan file (`monge compress ... --save-plan plan.yaml`) in PyTorch, to train on:
#
#     import cut_in_pytorch
#     cut_in_pytorch.cut(network, "plan.yaml")
#
# The network's parameters have the names that they have in the ONNX file, as those that torch.onnx
# exports do unless it folds constants. Of a block that is dropped, which is a branch in the network's
# own code, say which module does nothing without it, to pass its input on:
#
#     cut_in_pytorch.cut(network, "plan.yaml", blocks={"/layer1/layer1.1": "layer1.1"})
#
# An operator that becomes two is refused: its factors come from data, and are in the ONNX file that
# monge writes. It needs `pip install torch pyyaml`.
import torch
import yaml


def cut(network: torch.nn.Module, plan: str, blocks: dict[str, str] | None = None) -> None:
    """Keep the channels of a network that a plan file says, and drop the others; blocks name, for
    each block that the plan drops, the module that becomes an identity."""
    with open(plan) as f:
        content = yaml.safe_load(f)
    blocks = blocks or {}
    if unknown := [b for b in content.get("blocks", []) if b not in blocks]:
        raise ValueError(f"blocks {unknown} are dropped: say with blocks=... which modules pass their input on")
    if ranks := content.get("ranks"):
        raise ValueError(f"{list(ranks)} become two operators of a lower rank: that is no cut (--moves width,depth)")
    for name, space in content.get("spaces", {}).items():
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
    for block in content.get("blocks", []):
        network.set_submodule(blocks[block], torch.nn.Identity())
