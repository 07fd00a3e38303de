"""From a supergraph to the plain network that its search found."""

from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.heads.reid import ReIDNetwork
from reid_dcs.models.registry import attention_factory
from reid_dcs.runtime.hooks import weight_of
from reid_dcs.search.supergraph import Supergraph


def derive(supergraph: Supergraph) -> ReIDNetwork:
    """The likeliest subgraph without masks, its weights sliced from the supergraph.

    In evaluation it gives what the supergraph gives. An option is a prefix of the widest, so that
    a weight of the network is the first part of the supergraph's in every dimension. It is the
    network that ``build_model(name, num_classes, architecture=...)`` makes of
    ``supergraph.architecture()``.
    """
    attention = attention_factory(supergraph.attention, **supergraph.options)
    trunk = FBNetV2(attention, supergraph.space, supergraph.architecture())
    classes = supergraph.classifier.out_features
    network = ReIDNetwork(trunk, classes, supergraph.loss)
    wide = supergraph.state_dict()
    network.load_state_dict(
        {
            name: wide[name][tuple(map(slice, narrow.shape))]
            for name, narrow in network.state_dict().items()
        }
    )
    return network.to(weight_of(supergraph)).train(supergraph.training)
