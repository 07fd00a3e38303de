"""Derive the plain network that the search of a supergraph found."""

from torch import nn

from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.registry import attention_factory
from reid_dcs.runtime.hooks import weight_of
from reid_dcs.search.supergraph import Supergraph


def derive(supergraph: Supergraph) -> nn.Module:
    """Build the most probable subgraph without masks, with weights sliced from the supergraph.

    In evaluation its output equals the supergraph's. Every option keeps the first channels of the
    widest, so each weight is a leading slice of the supergraph's in every dimension. The network is
    the one that ``build_model(name, num_classes, architecture=supergraph.architecture())`` builds.
    """
    attention = attention_factory(supergraph.attention, **supergraph.options)
    trunk = FBNetV2(attention, supergraph.space, supergraph.architecture())
    network = supergraph.with_head(trunk).to(weight_of(supergraph))
    wide = supergraph.state_dict()
    network.load_state_dict(
        {
            name: wide[name][tuple(map(slice, narrow.shape))]
            for name, narrow in network.state_dict().items()
        }
    )
    return network.train(supergraph.training)
